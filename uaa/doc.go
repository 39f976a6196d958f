// Package uaa is the login server: as much of Cloud Foundry's UAA as the cf command asks for.
//
//	GET    /login                      what to ask a user for
//	POST   /oauth/token                a password, or a refresh token, for an access token
//	DELETE /oauth/token/revoke/{jti}   logging out
//	GET    /token_key, /token_keys     what others verify access tokens by
//
// What it promises:
//
//  1. An access token is a signed JWT that lives for minutes. It is dead at once when it is revoked,
//     its user is gone or has a new password: [Server.Authenticate] asks the store each time.
//  2. Passwords and refresh tokens cannot be read out of the store, only tried; signing keys lie
//     there sealed.
//  3. Guessing passwords gets slower with each failure, and an unknown user cannot be told from a
//     wrong password.
//
// It knows who somebody is and whether they are an administrator; what they may do where is the
// market's. Managing users and registering clients may not enter unnoticed: the one client is cf.
package uaa
