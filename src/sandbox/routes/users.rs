//! `/users`: create, read, update, delete.

use http::Method;

use super::super::access::Access;
use super::super::answer::{Answer, Outcome};
use super::super::call::Call;
use super::super::data::UserData;
use super::super::failure::Failure;
use super::{ANY, CLIENT, Route, SERVER, keyed, list};

pub const ROUTES: &[Route] = &[
    keyed(Method::GET, "/users", SERVER, list::list),
    keyed(Method::POST, "/users", SERVER, create),
    keyed(Method::GET, "/users/me", ANY, read_me),
    keyed(Method::PATCH, "/users/me", ANY, update_me),
    keyed(Method::DELETE, "/users/me", ANY, delete_me),
    keyed(Method::GET, "/users/{id}", SERVER, read),
    keyed(Method::PATCH, "/users/{id}", SERVER, update),
    keyed(Method::DELETE, "/users/{id}", SERVER, delete),
];

fn create(call: &mut Call<'_>) -> Outcome {
    let data = UserData::parse(call.body()?)?;
    let id = call.project.create_user(data, call.now)?;
    let before_the_team = call.show(id, 201);
    call.project.add_personal_team(id, call.now);
    before_the_team
}

fn read(call: &mut Call<'_>) -> Outcome {
    call.only_query(list::QUERY)?;
    let id = call.named(call.param(0))?;
    call.show(id, 200)
}

fn read_me(call: &mut Call<'_>) -> Outcome {
    let id = call.me()?;
    call.show(id, 200)
}

fn update(call: &mut Call<'_>) -> Outcome {
    let id = call.named(call.param(0))?;
    let data = UserData::parse(call.body()?)?;
    call.project.update_user(id, data, call.now)?;
    call.show(id, 200)
}

fn update_me(call: &mut Call<'_>) -> Outcome {
    let id = call.me()?;
    let parse = if call.caller.access == Access::Client {
        UserData::parse_from_client
    } else {
        UserData::parse
    };
    call.project.update_user(id, parse(call.body()?)?, call.now)?;
    call.show(id, 200)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.named(call.param(0))?;
    call.project.remove(id);
    Ok(Answer::success())
}

fn delete_me(call: &mut Call<'_>) -> Outcome {
    let id = call.me()?;
    let by_client = CLIENT.contains(&call.caller.access);
    if by_client && !call.project.client_user_deletion {
        return Err(Failure::text(
            400,
            "Client user deletion is not enabled for this project",
        ));
    }
    call.project.remove(id);
    Ok(Answer::success())
}
