//! What this domain refuses, and in which words.

use std::time::Duration;

use crate::base::fault::{self, Code, Fault, Reason, Suspicion, Violation, Violations};
use crate::db;

/// How long a caller waits when too many passwords are being checked at once.
const HASHING_RETRY: Duration = Duration::from_secs(2);

/// How long an organisation waits that has sent too many invitations.
const INVITATIONS_RETRY: Duration = Duration::from_hours(1);

/// Why something was not done. The text is what the caller reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No credential came with the call.
    #[error("This call needs a signed-in account: send the access token as `authorization: Bearer …`.")]
    Unauthenticated,
    /// Address and password do not belong together, or there is no such account: one answer for both.
    #[error("The e-mail address or the password is wrong.")]
    InvalidCredentials,
    /// The one-time password was right, and used or too old.
    #[error(
        "This one-time password was used or has expired; a restart of the platform gives its first administrator \
         another one."
    )]
    OneTimePasswordSpent,
    /// The access token's time is over.
    #[error("The access token has expired; exchange the refresh token for another one.")]
    TokenExpired,
    /// The access token is not one of ours.
    #[error("The access token is not valid.")]
    TokenInvalid,
    /// The session was ended.
    #[error("This session was ended; sign in again.")]
    SessionRevoked,
    /// The refresh token is unknown.
    #[error("The refresh token is not valid; sign in again.")]
    RefreshTokenInvalid,
    /// The session was not used for too long, or is too old.
    #[error("The session has expired; sign in again.")]
    SessionExpired,
    /// The refresh token was exchanged before: somebody holds a copy.
    #[error("This refresh token was used before, so the session was ended; sign in again.")]
    RefreshTokenReused,
    /// The account is kept out. Only whoever knows its password is told.
    #[error("This account is suspended; ask whoever runs the platform.")]
    AccountSuspended,
    /// Registration is closed, and no invitation came.
    #[error("Registration is by invitation only; send the token of an invitation.")]
    InvitationRequired,
    /// The caller has no such session.
    #[error("There is no such session.")]
    SessionNotFound,
    /// There is no account with this id.
    #[error("There is no such account.")]
    NoSuchAccount,
    /// There is no signing key with this id. Only the command line can meet this.
    #[error("There is no such signing key; `capecontrol token keys` lists them.")]
    NoSuchKey,
    /// An administrator tried to change their own account.
    #[error("Administrators cannot do this to their own account; ask another administrator.")]
    OwnAccount,
    /// Nobody would be left to run the platform.
    #[error("This is the last administrator; make another one first.")]
    LastAdministrator,
    /// Whose address it is has not been proved.
    #[error("Only an account whose e-mail address was verified can become an administrator.")]
    AddressNotVerified,
    /// Too many guesses at a secret of the account.
    #[error("Too many sign-ins to this account were tried; the next may be tried in {} s.", .0.as_secs_f64().ceil())]
    GuessDelayed(Duration),
    /// Too many passwords are being checked.
    #[error("Too many sign-ins at once; try again in a moment.")]
    HashingBusy,
    /// The organisation does not exist or the caller is not a member.
    #[error("There is no such organisation.")]
    OrganizationNotFound,
    /// The caller is a member, but neither owner nor administrator.
    #[error("Only an owner or administrator of the organisation may do this.")]
    NotAnOwner,
    /// The caller is a member who has nothing to do with the organisation's money.
    #[error("Only an owner, administrator or billing member of the organisation may do this.")]
    NotBilling,
    /// The caller administers the organisation, but owners are the owners' own business.
    #[error("Only an owner of the organisation may do this.")]
    OwnersOnly,
    /// See [`LAST_OWNER`].
    #[error("The organisation must have an owner: make another member one first.")]
    LastOwner,
    /// See [`PERSONAL_ORGANIZATION`].
    #[error("This is somebody's personal organisation: it has one person, and cannot be closed.")]
    PersonalOrganization,
    /// See [`ORGANIZATION_NOT_SETTLED`].
    #[error("The organisation cannot be closed while it has {0}.")]
    NotSettled(&'static str),
    /// See [`LIMIT_REACHED`].
    #[error("There may be at most {most} {what}; remove one first.")]
    Limit {
        /// Of what there are too many.
        what: &'static str,
        /// How many there may be.
        most: i64,
    },
    /// See [`TOO_MANY_INVITATIONS`].
    #[error("The organisation has sent {0} invitations within a day; wait for a while.")]
    TooManyInvitations(i64),
    /// There is no such member.
    #[error("There is no such member of the organisation.")]
    MemberNotFound,
    /// See [`ALREADY_A_MEMBER`].
    #[error("The account belongs to the organisation already.")]
    AlreadyAMember,
    /// See [`SERVICE_ACCOUNT`].
    #[error("This member is a service account; remove it with DeleteServiceAccount.")]
    IsServiceAccount,
    /// The invitation does not exist or is of an organisation that the caller does not belong to.
    #[error("There is no such invitation.")]
    InvitationNotFound,
    /// See [`INVITATION_INVALID`].
    #[error(
        "The invitation is not valid: it is unknown, was used or revoked, has expired, or is for another address."
    )]
    InvitationInvalid,
    /// The API key does not exist or is of an organisation that the caller does not belong to.
    #[error("There is no such API key.")]
    ApiKeyNotFound,
    /// The service account does not exist or is of an organisation that the caller does not belong to.
    #[error("There is no such service account.")]
    ServiceAccountNotFound,
    /// See [`API_KEY_REVOKED`].
    #[error("The API key was revoked or has expired; make another one.")]
    ApiKeyRevoked,
    /// See [`API_KEY_INVALID`].
    #[error("The API key is not valid.")]
    ApiKeyInvalid,
    /// See [`API_KEY_KIND`].
    #[error(
        "This platform takes API keys that begin with {}.",
        if *live { "cape_live_" } else { "cape_test_, for it moves no real money" }
    )]
    ApiKeyKind {
        /// Whether this platform moves real money.
        live: bool,
    },
    /// See [`API_KEY_EXPIRED`].
    #[error("The API key has expired, or a rotation replaced its secret.")]
    ApiKeyExpired,
    /// See [`API_KEY_ADDRESS`].
    #[error("The API key may not be used from this address.")]
    ApiKeyAddress,
    /// See [`ASSERTION_INVALID`].
    #[error("The assertion is not valid: {0}.")]
    AssertionInvalid(&'static str),
    /// See [`ASSERTION_REPLAYED`].
    #[error("The assertion was used before: sign another one with a jti of its own.")]
    AssertionReplayed,
    /// The link was used, has expired, or was never sent: one answer for all.
    #[error("This link was used, has expired, or is not valid; ask for another one.")]
    LinkInvalid,
    /// The present password, which a change asks for, is another.
    #[error("The present password is not the one that was given.")]
    CurrentPasswordWrong,
    /// The account or organisation changed since the etag was read.
    #[error("It was changed meanwhile; read it again and repeat the change.")]
    EtagMismatch,
    /// Fields of the request are wrong.
    #[error(transparent)]
    Invalid(#[from] Violations),
    /// What only the platform itself or an administrator may do.
    #[error("Only an administrator of the platform may do this.")]
    NotAnAdministrator,
    /// No account has this address.
    #[error("There is no account with this e-mail address.")]
    AccountNotFound,
    /// The platform is set up wrongly. Only the start and the command line can meet this.
    #[error("{0}")]
    Setup(String),
    /// A fault of ours: a stored hash or key that cannot be read.
    #[error("Something went wrong on our side.")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The idempotency key was refused.
    #[error(transparent)]
    Idempotency(#[from] crate::idempotency::Error),
    /// The database refused.
    #[error(transparent)]
    Db(#[from] db::Error),
}

impl Error {
    /// Marks a fault of ours, whose cause is logged and not told.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

impl Fault for Error {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::Unauthenticated => &fault::UNAUTHENTICATED,
            Self::InvalidCredentials => &INVALID_CREDENTIALS,
            Self::OneTimePasswordSpent => &ONE_TIME_PASSWORD_SPENT,
            Self::TokenExpired => &TOKEN_EXPIRED,
            Self::TokenInvalid => &TOKEN_INVALID,
            Self::SessionRevoked => &SESSION_REVOKED,
            Self::RefreshTokenInvalid => &REFRESH_TOKEN_INVALID,
            Self::SessionExpired => &SESSION_EXPIRED,
            Self::RefreshTokenReused => &REFRESH_TOKEN_REUSED,
            Self::AccountSuspended => &ACCOUNT_SUSPENDED,
            Self::InvitationRequired => &INVITATION_REQUIRED,
            Self::OwnAccount => &OWN_ACCOUNT,
            Self::LastAdministrator => &LAST_ADMINISTRATOR,
            Self::AddressNotVerified => &ADDRESS_NOT_VERIFIED,
            Self::GuessDelayed(_) => &SIGN_IN_DELAYED,
            Self::HashingBusy => &HASHING_BUSY,
            Self::OrganizationNotFound
            | Self::AccountNotFound
            | Self::SessionNotFound
            | Self::NoSuchAccount
            | Self::NoSuchKey
            | Self::MemberNotFound
            | Self::InvitationNotFound
            | Self::ApiKeyNotFound
            | Self::ServiceAccountNotFound => &fault::NOT_FOUND,
            Self::NotAnOwner | Self::NotBilling | Self::OwnersOnly | Self::NotAnAdministrator => {
                &fault::PERMISSION_DENIED
            }
            Self::LastOwner => &LAST_OWNER,
            Self::PersonalOrganization => &PERSONAL_ORGANIZATION,
            Self::NotSettled(_) => &ORGANIZATION_NOT_SETTLED,
            Self::Limit { .. } => &LIMIT_REACHED,
            Self::TooManyInvitations(_) => &TOO_MANY_INVITATIONS,
            Self::AlreadyAMember => &ALREADY_A_MEMBER,
            Self::IsServiceAccount => &SERVICE_ACCOUNT,
            Self::InvitationInvalid => &INVITATION_INVALID,
            Self::ApiKeyRevoked => &API_KEY_REVOKED,
            Self::ApiKeyInvalid => &API_KEY_INVALID,
            Self::ApiKeyKind { .. } => &API_KEY_KIND,
            Self::ApiKeyExpired => &API_KEY_EXPIRED,
            Self::ApiKeyAddress => &API_KEY_ADDRESS,
            Self::AssertionInvalid(_) => &ASSERTION_INVALID,
            Self::AssertionReplayed => &ASSERTION_REPLAYED,
            Self::LinkInvalid => &VERIFICATION_TOKEN_INVALID,
            Self::CurrentPasswordWrong => &CURRENT_PASSWORD_WRONG,
            Self::EtagMismatch => &fault::ETAG_MISMATCH,
            Self::Invalid(violations) => violations.reason(),
            Self::Setup(_) | Self::Internal(_) => &fault::INTERNAL,
            Self::Idempotency(error) => error.reason(),
            Self::Db(error) => error.reason(),
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Self::Invalid(violations) => violations.as_slice(),
            Self::Idempotency(error) => error.violations(),
            _ => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::GuessDelayed(wait) => Some(*wait),
            Self::HashingBusy => Some(HASHING_RETRY),
            Self::TooManyInvitations(_) => Some(INVITATIONS_RETRY),
            Self::Idempotency(error) => error.retry_after(),
            Self::Db(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// Every reason that this domain answers beside the common ones.
pub static REASONS: &[&Reason] = &[
    &INVALID_CREDENTIALS,
    &ONE_TIME_PASSWORD_SPENT,
    &TOKEN_EXPIRED,
    &TOKEN_INVALID,
    &SESSION_REVOKED,
    &REFRESH_TOKEN_INVALID,
    &SESSION_EXPIRED,
    &REFRESH_TOKEN_REUSED,
    &ACCOUNT_SUSPENDED,
    &INVITATION_REQUIRED,
    &OWN_ACCOUNT,
    &LAST_ADMINISTRATOR,
    &ADDRESS_NOT_VERIFIED,
    &SIGN_IN_DELAYED,
    &HASHING_BUSY,
    &LAST_OWNER,
    &PERSONAL_ORGANIZATION,
    &ORGANIZATION_NOT_SETTLED,
    &LIMIT_REACHED,
    &TOO_MANY_INVITATIONS,
    &ALREADY_A_MEMBER,
    &SERVICE_ACCOUNT,
    &INVITATION_INVALID,
    &API_KEY_REVOKED,
    &API_KEY_INVALID,
    &API_KEY_KIND,
    &API_KEY_EXPIRED,
    &API_KEY_ADDRESS,
    &ASSERTION_INVALID,
    &ASSERTION_REPLAYED,
    &VERIFICATION_TOKEN_INVALID,
    &CURRENT_PASSWORD_WRONG,
];

/// Address and password do not belong together.
pub static INVALID_CREDENTIALS: Reason = Reason::new(
    Code::Unauthenticated,
    "INVALID_CREDENTIALS",
    "The e-mail address is unknown or the password is wrong; which of the two is not told.",
);
/// The one-time password is spent.
pub static ONE_TIME_PASSWORD_SPENT: Reason = Reason::new(
    Code::Unauthenticated,
    "ONE_TIME_PASSWORD_SPENT",
    "An administrator's one-time password was right but was used or has expired; a restart gives the first another.",
);
/// The access token's time is over.
pub static TOKEN_EXPIRED: Reason = Reason::new(
    Code::Unauthenticated,
    "TOKEN_EXPIRED",
    "The access token has expired; call RefreshSession and repeat the call with the new token.",
);
/// The access token is not one of ours.
pub static TOKEN_INVALID: Reason = Reason::new(
    Code::Unauthenticated,
    "TOKEN_INVALID",
    "The access token is malformed, forged, or made for another audience; sign in to get one.",
);
/// The session was ended.
pub static SESSION_REVOKED: Reason = Reason::new(
    Code::Unauthenticated,
    "SESSION_REVOKED",
    "The session was ended by its owner, by an administrator or by an alarm; sign in again.",
);
/// The refresh token is unknown.
pub static REFRESH_TOKEN_INVALID: Reason = Reason::new(
    Code::Unauthenticated,
    "REFRESH_TOKEN_INVALID",
    "The refresh token is malformed or unknown; sign in again.",
)
.suspected(Suspicion::Slight);
/// The session's time is over.
pub static SESSION_EXPIRED: Reason = Reason::new(
    Code::Unauthenticated,
    "SESSION_EXPIRED",
    "The session was not used for too long or has reached its greatest age; sign in again.",
);
/// A refresh token came a second time.
pub static REFRESH_TOKEN_REUSED: Reason = Reason::new(
    Code::Unauthenticated,
    "REFRESH_TOKEN_REUSED",
    "The refresh token was exchanged more than ten seconds ago or its successor was: somebody holds a copy, so the \
     session was ended.",
);
/// The account is kept out.
pub static ACCOUNT_SUSPENDED: Reason = Reason::new(
    Code::FailedPrecondition,
    "ACCOUNT_SUSPENDED",
    "The password is right and an administrator has suspended the account; ask whoever runs the platform.",
);
/// Registration is closed, and no invitation came.
pub static INVITATION_REQUIRED: Reason = Reason::new(
    Code::FailedPrecondition,
    "INVITATION_REQUIRED",
    "Registration is by invitation only, whatever the address; send `invitation_token`.",
);
/// An administrator tried to change their own account.
pub static OWN_ACCOUNT: Reason = Reason::new(
    Code::FailedPrecondition,
    "OWN_ACCOUNT",
    "Administrators cannot suspend themselves or change their own role; another administrator can.",
)
.suspected(Suspicion::Strong);
/// Nobody would be left to run the platform.
pub static LAST_ADMINISTRATOR: Reason = Reason::new(
    Code::FailedPrecondition,
    "LAST_ADMINISTRATOR",
    "The account is the only administrator that is not suspended; make another one first.",
);
/// Whose address it is has not been proved.
pub static ADDRESS_NOT_VERIFIED: Reason = Reason::new(
    Code::FailedPrecondition,
    "ADDRESS_NOT_VERIFIED",
    "Only an account whose e-mail address was verified can become an administrator; have its owner verify it.",
);
/// Too many guesses at a secret of one account.
pub static SIGN_IN_DELAYED: Reason = Reason::new(
    Code::ResourceExhausted,
    "SIGN_IN_DELAYED",
    "Too many sign-ins to the account were tried from this network, or from networks that it was never signed in from; \
     repeat after the delay in RetryInfo. The account is not locked.",
);
/// Too many passwords are being checked.
pub static HASHING_BUSY: Reason = Reason::new(
    Code::ResourceExhausted,
    "HASHING_BUSY",
    "More sign-ins and registrations came at once than are checked in good time; repeat after the delay in RetryInfo.",
);
/// The last owner is to stop being one.
pub static LAST_OWNER: Reason = Reason::new(
    Code::FailedPrecondition,
    "LAST_OWNER",
    "The organisation's last owner cannot leave, be removed or get another role; make another member an owner first.",
);
/// What cannot be done to a personal organisation.
pub static PERSONAL_ORGANIZATION: Reason = Reason::new(
    Code::FailedPrecondition,
    "PERSONAL_ORGANIZATION",
    "An account's personal organisation has one person and cannot be closed; make an organisation to work with others.",
);
/// An organisation that owes or is owed something.
pub static ORGANIZATION_NOT_SETTLED: Reason = Reason::new(
    Code::FailedPrecondition,
    "ORGANIZATION_NOT_SETTLED",
    "The organisation has a running subscription or an open invoice, and can be closed only when it has neither.",
);
/// There are as many of something as there may be.
pub static LIMIT_REACHED: Reason = Reason::new(
    Code::FailedPrecondition,
    "LIMIT_REACHED",
    "There are as many organisations, members, open invitations, API keys or service accounts as there may be; the \
     message names the bound.",
);
/// Too many letters.
pub static TOO_MANY_INVITATIONS: Reason = Reason::new(
    Code::ResourceExhausted,
    "TOO_MANY_INVITATIONS",
    "The organisation has sent as many invitations within a day as it may; repeat after the delay in RetryInfo.",
);
/// Somebody is a member.
pub static ALREADY_A_MEMBER: Reason = Reason::new(
    Code::AlreadyExists,
    "ALREADY_A_MEMBER",
    "The account that is to join belongs to the organisation already; change its role with UpdateMemberRole.",
);
/// What is not done to a service account in this way.
pub static SERVICE_ACCOUNT: Reason = Reason::new(
    Code::FailedPrecondition,
    "SERVICE_ACCOUNT",
    "The member is a service account, which is removed with DeleteServiceAccount.",
);
/// A token that is of no open invitation, to register or to join, for the address that brings it.
pub static INVITATION_INVALID: Reason = Reason::new(
    Code::FailedPrecondition,
    "INVITATION_INVALID",
    "The invitation is unknown, was used or revoked, has expired, or is for another address; ask for another one.",
)
.suspected(Suspicion::Slight);
/// A key that is over is to be rotated.
pub static API_KEY_REVOKED: Reason = Reason::new(
    Code::FailedPrecondition,
    "API_KEY_REVOKED",
    "The API key was revoked or has expired, so it gets no other secret; make another key.",
);
/// An API key that is not valid.
pub static API_KEY_INVALID: Reason = Reason::new(
    Code::Unauthenticated,
    "API_KEY_INVALID",
    "The API key was mistyped, never existed or was revoked, or its account has left the organisation.",
);
/// A key of a platform of the other kind.
pub static API_KEY_KIND: Reason = Reason::new(
    Code::Unauthenticated,
    "API_KEY_KIND",
    "A test key came to a platform that moves real money, or a live key to one that does not.",
);
/// A key whose time is over.
pub static API_KEY_EXPIRED: Reason = Reason::new(
    Code::Unauthenticated,
    "API_KEY_EXPIRED",
    "The API key has expired, or the time is over in which the secret before a rotation was good.",
);
/// A key from an address that is not listed.
pub static API_KEY_ADDRESS: Reason = Reason::new(
    Code::PermissionDenied,
    "API_KEY_ADDRESS",
    "The call came from an address that is in none of the API key's networks.",
);
/// An assertion that is not valid.
pub static ASSERTION_INVALID: Reason = Reason::new(
    Code::Unauthenticated,
    "ASSERTION_INVALID",
    "The service account's assertion is not one, is not signed with the registered key, or states something wrong; the \
     message says what.",
);
/// An assertion that was used.
pub static ASSERTION_REPLAYED: Reason = Reason::new(
    Code::Unauthenticated,
    "ASSERTION_REPLAYED",
    "The assertion's jti was used before; sign another assertion for each exchange.",
);
/// A link does not work.
pub static VERIFICATION_TOKEN_INVALID: Reason = Reason::new(
    Code::InvalidArgument,
    "VERIFICATION_TOKEN_INVALID",
    "The link was used, has expired, was replaced by a newer one, or was never sent; which is not told. Ask for one.",
)
.suspected(Suspicion::Slight);
/// The present password is another.
pub static CURRENT_PASSWORD_WRONG: Reason = Reason::new(
    Code::InvalidArgument,
    "CURRENT_PASSWORD_WRONG",
    "The present password is not the one that was given; the session goes on, and the password stays what it is.",
);
