// Package backup decides about backups: when one is due (Due), which are kept (Keep), and from which a moment is
// reached (Reach).
//
// It is pure: backups, the time and chance are arguments. Who takes backups, and where they lie, it does not know.
package backup
