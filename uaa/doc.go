// Package uaa is the login server: as much of Cloud Foundry's UAA as the cf command asks for.
//
//	GET    /login, /info               what to ask a user for
//	GET    /userinfo                   who one is
//	POST   /oauth/token                a password, a refresh token or a client's secret, for an access token
//	DELETE /oauth/token/revoke/{jti}   logging out
//	GET    /oauth/clients/{id}         whether there is such a client
//	GET    /Users?filter=…             the user of a name
//	GET    /Users/{id}                 one user
//	POST   /Users                      a new user
//	PUT    /Users/{id}                 who a user is, anew
//	PUT    /Users/{id}/password        a new password
//	DELETE /Users/{id}                 the end of a user
//	GET    /token_key, /token_keys     what others verify access tokens by
//
// What it promises:
//
//  1. An access token is a signed JWT that lives for minutes, a client's for an hour. It is dead at once
//     when it is revoked, its user or client is gone or has a new password: [Server.Authenticate] asks the
//     store each time. A role on the whole platform, given or taken, counts from the next request on.
//  2. Passwords, secrets and refresh tokens cannot be read out of the store, only tried; signing keys lie
//     there sealed.
//  3. Guessing gets slower with each failure, wherever a password or a secret is asked for, and an unknown
//     name cannot be told from a wrong password.
//  4. Of usernames that differ in case alone there is one. Somebody who is removed takes all their roles
//     along, and one user at least stays an administrator, whatever happens at once.
//  5. Every change of a user or client, and every failed login, is an audit event that names no secret,
//     and nothing that was typed and is nobody's name.
//
// It knows who somebody is and what they may do on the whole platform; what they may do where is the
// market's. Other identity providers, and clients that act for users, may not enter unnoticed: the one
// such client is cf.
package uaa
