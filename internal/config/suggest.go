package config

// nearest returns the flag that name was most probably meant to be, "" if none is close.
func nearest(name string, groups []group) string {
	best, bestDistance := "", suggestionDistanceMax+1
	for _, g := range groups {
		for _, s := range g.settings {
			if d := distance(name, s.flag); s.flag != "" && d < bestDistance && d < len(name) {
				best, bestDistance = s.flag, d
			}
		}
	}
	return best
}

// distance is the Levenshtein distance of two flag names (ASCII), with one row of the matrix at a
// time.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
