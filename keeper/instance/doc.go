// Package instance keeps one instance as its Spec wants it. It is made of three things: the Record, which
// lies on disk and says what is wanted; decide, which is pure and says what to do next; and the carrying
// out of that, which is all that touches the world.
//
// The wish is a level and no signal: after every step the record is looked at anew, and whatever is under
// way ends when the wish is another one than it began with. Nothing that comes in between can be lost.
//
//	                                                  a newer generation is wanted
//	                                                 ┌────────────────────────────┐
//	look ─► start ─► await ─► drop ─► reach ─► rest, ask ─► check ─► change ─► restart, start, or reach …
//	          ▲        │                           │          │ impossible
//	          └─ rest ◄┴───────────────────────────┘          └─► the old one serves on,
//	          (back-off)    it ends, or hangs for long             with an Obstacle
//
// Where the wanted generation is of another version than the data, "upgrade" comes before start: it makes other data,
// and the record says which is in use. What was is kept for a while, and "return" takes it into use again.
//
// Where the wanted generation begins from a restore point, or from another instance, "restore" makes its data aside, in
// a goroutine of its own, so that what serves is served and watched meanwhile; "exchange" then takes it into use.
//
// An instance of two nodes has a second beside the one that serves, in a place of its own:
//
//	copy ─► follow ─► see ─► protect ─► see, see …            the primary ended, or hangs: kill
//	 ▲        ▲        │        │  it does not follow            │ in step            │ not
//	 │        │        ◄────────┴─► expose                       ▼                    ▼
//	 └────────┴── leave ◄───────────┘   for long: its data       promote ─► reach    start
//	                                    is made anew
//
// "protect" has the primary acknowledge nothing that the second lacks, and notes that it is in step; "expose" notes
// that it is not, and then lets the primary go on alone. Only what is in step is promoted, once all processes of the
// primary have ended and its data is fenced; then the two have changed their parts. "hand over" does that on request,
// "front" has a front hold the endpoint, and "disband" removes the second. Where a change is found to take a restart,
// the second is left and follows with the wanted generation first, and "hand over" comes in the place of "restart".
//
// Where somebody reads from the second, "route" has a front of its own send reads there while that is fit to be read
// from, and to the primary otherwise: see routeOf.
//
// Replicas beside the two, which only serve reads, are none of decide's: each is kept by a follower, in a goroutine of
// its own, with a pure function of its own (see replicaView).
//
// Where an engine's primary waits for nobody, "promote" asks the second first whether it is ready, and the primary is
// started again if not. "concede" promotes what was in step once, where the primary's data is gone.
//
// The process that serves is ended for these reasons only: the instance is removed; a wanted Spec that passed the
// engine's check needs a restart, or asks for one or for a failover; the engine has not answered for long, or says that
// nothing else helps (engine.ErrStuck); its data is damaged, or its disk is lost, and a second can take over. Before a
// restart that is wanted it writes what it has changed, while it serves. Data is made for an instance that never
// served; where one that served has none, it waits until the data is back.
package instance
