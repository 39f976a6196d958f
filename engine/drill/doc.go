// Package drill writes to an instance as its clients do, while its primary is changed or restarted, and tells what that
// has cost them. What is asked of the instance, and where what was seen outlives us, is not decided here.
package drill
