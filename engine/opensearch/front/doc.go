// Package front is a companion of each node of OpenSearch. It is the way in, for clients and for the administrator:
//
//	clients  --TLS--> port          --TLS--> OpenSearch
//	operator -------> Unix socket -------^
//
// OpenSearch listens on loopback alone, at a port that the operating system chooses, and proves itself to whoever comes
// there by a certificate that nothing else has. What the front adds is what OpenSearch does not have: a limit of
// connections, an end of the patience with whoever fails to log in, a certificate that is another one without a
// restart, and a socket that nobody but the operator reaches. It looks at no document, and keeps nothing.
package front
