use super::client::{self, post, send};
use super::{World, soon};
use tombolo_protocol::schema::Role;

#[tokio::test]
async fn a_login_gives_all_that_a_client_needs() {
    let world = World::new().await;
    let addr = world.server.addr();
    let answer = post(addr, "/api/login", "", r#"{"name":"anna","password":"river stone"}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("server: tombolo/"));
    let body = answer.body;
    assert_eq!(
        (body["name"].as_str(), body["role"].as_str(), body["scopes"].as_str()),
        (Some("anna"), Some("admin"), Some("all"))
    );
    assert_eq!(body["schema"]["seq"], 2);
    assert!(body["schema"]["text"].as_str().unwrap().contains("name = \"clinic\""));
    let days = (body["expires_at_ms"].as_i64().unwrap() - crate::net::clock::now_ms()) / (24 * 3600 * 1000);
    assert!((89..=90).contains(&days), "{days}");
    // What is stored is the hash, and it is that device's.
    let hash = client::stored(body["token"].as_str().unwrap());
    let identity = world.server.operator().read(move |snapshot| snapshot.identity(&hash, 0)).await.unwrap().unwrap();
    assert_eq!(identity.device.to_string(), body["device"].as_str().unwrap());
    assert_eq!(identity.user.to_string(), body["user"].as_str().unwrap());
}

#[tokio::test]
async fn whoever_knows_the_password_may_log_in_again_and_again() {
    let world = World::new().await;
    for _ in 0..12 {
        world.login().await;
    }
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_get_the_same_answer() {
    let world = World::new().await;
    let addr = world.server.addr();
    let wrong_password = client::login(addr, "anna", "river", None).await.unwrap_err();
    let wrong_name = client::login(addr, "ann", "river stone", None).await.unwrap_err();
    assert_eq!((wrong_password.status, wrong_name.status), (401, 401));
    assert_eq!(wrong_password.body, wrong_name.body);
    assert_eq!(wrong_password.body["error"], "wrong_credentials");
}

#[tokio::test]
async fn a_device_stays_if_it_is_that_users() {
    let world = World::new().await;
    let addr = world.server.addr();
    world.server.operator().add_user("ben", "pw", Role::Viewer, &[]).await.unwrap();
    let first = world.login().await;
    let again = client::login(addr, "anna", "river stone", Some(first.device)).await.unwrap();
    assert_eq!(again.device, first.device);
    assert_ne!(again.token, first.token);
    // The token that it had stops working.
    assert_eq!(logout(addr, &first.token).await, 401);
    let other = client::login(addr, "ben", "pw", Some(first.device)).await.unwrap();
    assert_ne!(other.device, first.device);
}

async fn logout(addr: std::net::SocketAddr, token: &str) -> u16 {
    post(addr, "/api/logout", &format!("authorization: Bearer {token}\r\n"), "").await.status
}

#[tokio::test]
async fn a_logout_ends_the_token() {
    let world = World::new().await;
    let login = world.login().await;
    assert_eq!(logout(world.server.addr(), &login.token).await, 200);
    assert_eq!(logout(world.server.addr(), &login.token).await, 401);
    assert_eq!(logout(world.server.addr(), "nonsense").await, 401);
}

#[tokio::test]
async fn what_is_no_login_is_told_so() {
    let world = World::new().await;
    let addr = world.server.addr();
    for body in ["", "{}", "[]", r#"{"name":"anna"}"#, r#"{"name":"anna","password":"x","device":"y"}"#] {
        let answer = post(addr, "/api/login", "", body).await;
        assert_eq!((answer.status, &answer.body["error"]), (400, &"bad_request".into()), "{body}");
    }
    let answer = send(addr, "POST /api/login HTTP/1.1\r\nhost: t\r\ncontent-length: 5000\r\n\r\n").await.unwrap();
    assert_eq!((answer.status, &answer.body["error"]), (413, &"too_large".into()));
    let chunked =
        format!("POST /api/login HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n1200\r\n{}", "x".repeat(4608));
    assert_eq!(send(addr, chunked).await.unwrap().status, 413);
}

#[tokio::test]
async fn a_name_that_fails_too_often_waits() {
    let world = World::new().await;
    let addr = world.server.addr();
    let mut answer = client::login(addr, "anna", "x", None).await.unwrap_err();
    for _ in 0..20 {
        if answer.status == 429 {
            break;
        }
        answer = client::login(addr, "anna", "x", None).await.unwrap_err();
    }
    assert_eq!((answer.status, &answer.body["error"]), (429, &"too_many_attempts".into()));
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    let other = soon(client::login(addr, "ben", "x", None)).await.unwrap_err();
    assert_eq!(other.status, 401);
}
