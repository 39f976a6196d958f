package volume

// EachWritten is for tests that look into images.
var EachWritten = eachWritten
