mod bulk;
mod expected;
mod identity;
mod peer;
mod prepared;
mod pull;
mod push;
mod random;
