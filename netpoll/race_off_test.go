//go:build !race

package netpoll

// raceDetector tells that the detector is built in; it allocates.
const raceDetector = false
