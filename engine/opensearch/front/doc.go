// Package front is a companion of each node of OpenSearch. It is the way in, for clients and for the administrator:
//
//	clients  --TLS--> port          --TLS--> OpenSearch
//	operator -------> Unix socket -------^
//
// OpenSearch listens on loopback alone, at a port that the operating system chooses. There it proves itself by a
// certificate that nothing else has but the front, and lets in whoever has that or the operator's. What the front adds
// is what OpenSearch does not have: a limit of connections, an end of the patience with whoever fails to log in, a
// certificate that is another one without a restart, a socket that nobody but the operator reaches, and a few changes
// of what is asked (amend.go). It looks at no document, and keeps nothing.
package front
