// Package cfapi is the Cloud Foundry v3 door: as much of that API as the genuine cf command asks
// for on its way through organizations, spaces, apps, services and bindings, in Cloud Foundry's own
// shapes and words.
//
// It promises that every route stands in one table (route.go), that a handler is decode, one call of
// the market, render, and that each Kind of error has its place in one dialect (error.go). It refuses
// to decide anything: who may have what is the market's business, who is asking the authenticator's.
//
// Links and job addresses are made from the configured URL, never from what a request says of its
// host: the command sends the user's token to whatever address it is given.
package cfapi
