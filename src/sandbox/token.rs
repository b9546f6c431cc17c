//! Access tokens and sessions.
//!
//! The tokens look like the provider's ES256 ones and carry its claims, but what signs them is a
//! digest with a secret of this process: nobody else can make or check one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::failure::Failure;
use super::project::{Project, Session};

/// Ten minutes, as in the recordings.
pub const ACCESS_TOKEN_SECONDS: i64 = 600;
const KEY_ID: &str = "sandbox";

/// Makes and checks the tokens of one sandbox.
pub struct Signer {
    /// Its own URL, of which the issuer is made.
    pub base: String,
    secret: [u8; 16],
}

/// Whom a token is for.
#[derive(Debug, Clone, Copy)]
pub struct Bearer {
    pub user: Uuid,
    pub session: Option<Uuid>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    project_id: String,
    branch_id: String,
    refresh_token_id: Option<Uuid>,
    role: String,
    name: Option<String>,
    email: Option<String>,
    email_verified: bool,
    selected_team_id: Option<Uuid>,
    signed_up_at: i64,
    is_anonymous: bool,
    is_restricted: bool,
    restricted_reason: Value,
    requires_totp_mfa: bool,
    iss: String,
    iat: i64,
    aud: String,
    exp: i64,
}

impl Signer {
    pub fn new(base: String) -> Signer {
        Signer {
            base,
            secret: Uuid::new_v4().into_bytes(),
        }
    }

    /// None if there is no such user. `lives` in seconds; a negative one has expired already.
    pub fn access_token(&self, project: &Project, bearer: Bearer, now: i64, lives: i64) -> Option<String> {
        let claims = self.claims(project, bearer, now, lives)?;
        let header = json!({ "alg": "ES256", "kid": KEY_ID });
        let part = |value: Vec<u8>| URL_SAFE_NO_PAD.encode(value);
        let signed = format!(
            "{}.{}",
            part(header.to_string().into()),
            part(serde_json::to_vec(&claims).ok()?)
        );
        Some(format!("{signed}.{}", self.signature(&signed)))
    }

    fn claims(&self, project: &Project, bearer: Bearer, now: i64, lives: i64) -> Option<Claims> {
        let user = project.user(bearer.user)?;
        let restricted_reason = user.restriction(project.require_email_verification);
        let project_id = project.keys.project_id.clone();
        let of = if user.is_anonymous {
            "projects-anonymous-users"
        } else {
            "projects"
        };
        Some(Claims {
            sub: user.id,
            branch_id: super::access::MAIN_BRANCH.to_owned(),
            refresh_token_id: bearer.session,
            role: "authenticated".to_owned(),
            name: user.display_name.clone(),
            email: user.primary().map(|channel| channel.value.clone()),
            email_verified: user.primary().is_some_and(|channel| channel.verified),
            selected_team_id: user.selected_team,
            signed_up_at: user.signed_up_at / 1000,
            is_anonymous: user.is_anonymous,
            is_restricted: !restricted_reason.is_null(),
            restricted_reason,
            requires_totp_mfa: user.totp_secret.is_some(),
            iss: format!("{}/api/v1/{of}/{project_id}", self.base),
            iat: now / 1000,
            aud: project_id.clone(),
            exp: now / 1000 + lives,
            project_id,
        })
    }

    /// # Errors
    /// As the provider has them: not a token of ours, expired, of another project.
    pub fn check(&self, project_id: &str, token: &str, now: i64) -> Result<Bearer, Failure> {
        let claims = self.decode(token).ok_or_else(Failure::unparsable_access_token)?;
        if claims.exp * 1000 <= now {
            return Err(Failure::access_token_expired(claims.exp * 1000));
        }
        if claims.aud != project_id {
            return Err(Failure::token_of_another_project(project_id, &claims.aud));
        }
        Ok(Bearer {
            user: claims.sub,
            session: claims.refresh_token_id,
        })
    }

    fn decode(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (_, claims) = signed.split_once('.')?;
        if signature != self.signature(signed) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    fn signature(&self, signed: &str) -> String {
        let digest = Sha256::new()
            .chain_update(self.secret)
            .chain_update(signed)
            .finalize();
        URL_SAFE_NO_PAD.encode(digest)
    }
}

impl Project {
    /// Opens a session; the user was active then.
    pub fn open_session(&mut self, user: Uuid, now: i64) -> (String, Bearer) {
        let session = Session {
            id: Uuid::new_v4(),
            user,
            created_at: now,
        };
        let bearer = Bearer {
            user,
            session: Some(session.id),
        };
        let refresh_token = opaque();
        self.sessions.insert(refresh_token.clone(), session);
        self.edit(user, |user| user.last_active_at = now);
        (refresh_token, bearer)
    }

    /// Whose refresh token it is; the user was active now.
    pub fn refresh(&mut self, refresh_token: &str, now: i64) -> Option<Bearer> {
        let session = self.sessions.get(refresh_token)?;
        let bearer = Bearer {
            user: session.user,
            session: Some(session.id),
        };
        self.edit(bearer.user, |user| user.last_active_at = now)?;
        Some(bearer)
    }
}

/// 45 characters that mean nothing, as the provider's refresh tokens and codes.
pub fn opaque() -> String {
    crate::random::text().chars().take(45).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::seed;

    #[test]
    fn a_token_is_good_for_its_project_until_it_expires_and_only_as_it_was_made() {
        let mut project = Project::new(seed::keys(0));
        seed::users(&mut project, 1);
        let bearer = Bearer {
            user: project.ids()[0],
            session: None,
        };
        let signer = Signer::new("http://sandbox".to_owned());
        let token = signer
            .access_token(&project, bearer, 0, ACCESS_TOKEN_SECONDS)
            .unwrap();
        let check = |token: &str, project: usize, now| {
            let checked = signer.check(&seed::keys(project).project_id, token, now);
            checked
                .map(|bearer| bearer.user)
                .map_err(|failure| failure.code.unwrap())
        };
        assert_eq!(check(&token, 0, 599_000), Ok(bearer.user));
        assert_eq!(check(&token, 0, 600_000), Err("ACCESS_TOKEN_EXPIRED"));
        assert_eq!(check(&token, 1, 0), Err("INVALID_PROJECT_FOR_ACCESS_TOKEN"));
        assert_eq!(check(&format!("{token}x"), 0, 0), Err("UNPARSABLE_ACCESS_TOKEN"));
        assert_eq!(check("junk", 0, 0), Err("UNPARSABLE_ACCESS_TOKEN"));
    }
}
