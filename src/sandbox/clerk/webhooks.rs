//! Webhooks as an operator switches them on. Endpoints are added on a page of Svix's, which is not played.

use serde_json::json;

use super::super::answer::Answer;
use super::failure::Failure;
use super::ok;
use super::routes::Call;

pub fn switch_on(call: &mut Call<'_>) -> Result<Answer, Failure> {
    if call.instance.svix_app.is_some() {
        return Err(Failure::new(
            400,
            "svix_app_exists",
            "A Svix app already exists for this instance.",
        ));
    }
    let id = uuid::Uuid::new_v4().simple();
    call.instance.svix_app = Some(format!("https://app.svix.com/login?app=app_{id}"));
    link(call)
}

/// Good for a while, and for whoever has it.
pub fn link(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let missing = || Failure::new(400, "svix_app_missing", "No Svix app exists for this instance.");
    let app = call.instance.svix_app.as_ref().ok_or_else(missing)?;
    let key = uuid::Uuid::new_v4().simple();
    ok(&json!({ "svix_url": format!("{app}#key={key}") }))
}
