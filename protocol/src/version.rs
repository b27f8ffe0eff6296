//! Protocol versions, and what the two ends agree on.

/// The protocol version that this code speaks. From the first release on, a change of the golden bytes changes it.
pub const PROTOCOL: u16 = 1;
/// The oldest version that this code still speaks.
pub const PROTOCOL_LOWEST: u16 = 1;
/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "tombolo.1";
/// The header of the upgrade request that carries Hello as a base64url frame without padding.
pub const HELLO_HEADER: &str = "tombolo-hello";
/// The header of an answer that refuses a token: the id of the workspace that answers. By it a client tells its own server,
/// which wants a login, from another one and from a portal (H2).
pub const WORKSPACE_HEADER: &str = "tombolo-workspace";

/// The highest version that both ends speak.
pub fn agree(client: (u16, u16)) -> Option<u16> {
    let highest = client.1.min(PROTOCOL);
    (highest >= client.0 && highest >= PROTOCOL_LOWEST).then_some(highest)
}
