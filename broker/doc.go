// Package broker pays what the market owes: it turns a plan and parameters into a [backend.Spec],
// sees operations through to their end, and gives bindings their credentials. It is a
// [backstay.Broker], in process or behind any door.
//
// It knows no engine by name: an offering is an engine of the catalog with plans, and what is
// special about a product lives in its room under engine. No SQL and no HTTP may enter.
package broker
