//! The server of `README.md` of axum-idempotent 0.6.0 ("Direct Key Mode"), with its PostgreSQL store instead of its store in memory.
use std::{env, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use axum_idempotent::{IdempotentLayer, IdempotentOptions};
use ruts::store::Ttl;
use ruts::store::postgres::{PostgresStore, PostgresStoreBuilder};
use ruts::{CookieOptions, Session, SessionLayer};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower_cookies::CookieManagerLayer;

type Answer = (StatusCode, Json<Value>);

async fn pause(charge: &Value, member: &str) {
    tokio::time::sleep(Duration::from_millis(charge[member].as_u64().unwrap_or(0))).await;
}

async fn create(State(pool): State<PgPool>, Json(charge): Json<Value>) -> Answer {
    let (amount, currency) = (charge["amount"].as_i64().unwrap_or(0), charge["currency"].as_str().unwrap_or(""));
    if amount <= 0 {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "amount must be a positive integer" })));
    }
    if charge["source"] == "tok_chargeDeclined" {
        return (StatusCode::PAYMENT_REQUIRED, Json(json!({ "error": "card_declined" })));
    }
    pause(&charge, "before_ms").await;
    let id: i64 = sqlx::query_scalar("INSERT INTO charges (amount, currency) VALUES ($1, $2) RETURNING id")
        .bind(amount)
        .bind(currency)
        .fetch_one(&pool)
        .await
        .expect("the charge is inserted");
    pause(&charge, "after_ms").await;
    (StatusCode::CREATED, Json(json!({ "id": id, "amount": amount, "currency": currency })))
}

async fn list(State(pool): State<PgPool>) -> Json<Value> {
    let ids: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM charges ORDER BY id DESC").fetch_all(&pool).await.expect("charges are read");
    Json(json!({ "count": ids.len(), "data": ids }))
}

/// The layer never creates a session, so a client has to log in before its replies are kept.
async fn log_in(session: Session<PostgresStore>) {
    session.set("user", &"one", Ttl::new(86_400).unwrap(), None).await.expect("the session is stored");
}

#[tokio::main]
async fn main() {
    let setting = |name: &str| env::var(name).ok();
    let pool = PgPool::connect(&setting("DATABASE_URL").expect("DATABASE_URL")).await.expect("a connection");
    let store = PostgresStoreBuilder::new(pool.clone()).create_table(true).build().await.expect("a session store");

    let mut options = IdempotentOptions::default().use_idempotency_key_header(Some("Idempotency-Key"), true);
    if let Some(seconds) = setting("KEY_TTL_SECONDS") {
        options = options.expire_after(seconds.parse().expect("KEY_TTL_SECONDS is a number"));
    }
    let sessions = SessionLayer::new(Arc::new(store))
        .with_cookie_options(CookieOptions::build().name("session").secure(false).max_age(86_400).path("/"));

    let app = Router::new()
        .route("/charges", post(create))
        .layer(IdempotentLayer::<PostgresStore>::new(options))
        .route("/charges", get(list))
        .route("/log-in", post(log_in))
        .layer(sessions)
        .layer(CookieManagerLayer::new())
        .with_state(pool);
    let address = format!("127.0.0.1:{}", setting("PORT").expect("PORT"));
    let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
    axum::serve(listener, app).await.expect("the server runs");
}
