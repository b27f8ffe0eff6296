mod bulk;
mod identity;
mod peer;
mod pull;
mod push;
mod random;
