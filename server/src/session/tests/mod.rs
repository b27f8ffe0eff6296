mod bulk;
mod expected;
mod identity;
mod peer;
mod pull;
mod push;
mod random;
