// Package repository keeps what engines without a tool that brings a repository of its own write into one: in a
// directory or an object store, compressed, and encrypted with the key of one instance.
//
// Its promises, in the order of importance:
//
//  1. What Get returns without an error is what Put was given under that name. An object that was damaged, cut short,
//     exchanged for another one or written with another key is Invalid.
//  2. An object is seen whole or not at all, whenever a process or the machine dies.
//  3. A store that is away, slow or full says so within seconds, as Unavailable, with a sentence for the user.
//
// It knows no engine and no instance but by the name of its part, and decides nothing: when there is a backup, and
// how long that is kept, is decided by package backup.
package repository
