package timing

// Stage is one part of a request's life; the package comment draws them.
type Stage uint8

// The stages, in the order in which /admin/timing lists them.
const (
	// RecvParse runs from the first byte of the request to its last.
	RecvParse Stage = iota
	// Queue runs from the request being complete to its handler starting.
	Queue
	// Server is the handler's own work: appending and rendering the reply.
	Server
	// Commit is the wait for durability.
	Commit
	// Total runs from the first byte of the request to its reply being queued for sending.
	Total

	// StageCount is how many stages there are; a valid Stage is below it.
	StageCount = int(Total) + 1
)

var stageNames = [StageCount]string{"recv_parse", "queue", "server", "commit", "total"}

// String returns the stage's name as it appears in JSON, metric labels and the Server-Timing field.
func (s Stage) String() string {
	if int(s) >= StageCount {
		return "unknown"
	}
	return stageNames[s]
}
