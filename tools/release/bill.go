package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"strings"
)

// The list of what is inside: SPDX 2.3 as JSON (https://spdx.github.io/spdx-spec/v2.3/), from what Go writes into every binary
// about the modules that it was built of, with their checksums (go.sum's, base64, so they stand in a comment: SPDX knows no h1).
// The namespace ends in the binary's hash and not in something random, so that the same binary has the same list.

type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	License       string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID           string         `json:"SPDXID"`
	Name         string         `json:"name"`
	Version      string         `json:"versionInfo,omitempty"`
	Location     string         `json:"downloadLocation"`
	Analyzed     bool           `json:"filesAnalyzed"`
	Concluded    string         `json:"licenseConcluded"`
	Declared     string         `json:"licenseDeclared"`
	Copyright    string         `json:"copyrightText"`
	Comment      string         `json:"comment,omitempty"`
	Checksums    []spdxChecksum `json:"checksums,omitempty"`
	ExternalRefs []spdxRef      `json:"externalRefs,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const spdxNone = "NOASSERTION"

// bill lists what a binary was made of.
func (r *release) bill(t target, binary []byte) ([]byte, error) {
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return nil, fmt.Errorf("what is in the binary: %w", err)
	}
	hash := fmt.Sprintf("%x", sha256.Sum256(binary))
	main := r.spdx("SPDXRef-ayder", "ayder", r.version)
	main.Declared, main.Concluded = "MIT", "MIT"
	main.Checksums = []spdxChecksum{{"SHA256", hash}}
	d := spdxDocument{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: "ayder-" + r.version + "-" + t.String(),
		Namespace:     "https://spdx.org/spdxdocs/ayder-" + hash,
		Creation:      spdxCreation{r.at.Format("2006-01-02T15:04:05Z"), []string{"Tool: ayder-release"}},
		Packages:      []spdxPackage{main},
		Relationships: []spdxRelationship{{"SPDXRef-DOCUMENT", "DESCRIBES", main.ID}},
	}
	add := func(p spdxPackage) {
		d.Packages = append(d.Packages, p)
		d.Relationships = append(d.Relationships, spdxRelationship{main.ID, "CONTAINS", p.ID})
	}
	add(r.module("std", strings.TrimPrefix(info.GoVersion, "go"), ""))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		add(r.module(m.Path, m.Version, m.Sum))
	}
	return json.MarshalIndent(d, "", " ")
}

func (r *release) spdx(id, name, version string) spdxPackage {
	return spdxPackage{ID: id, Name: name, Version: version, Location: spdxNone, Concluded: spdxNone, Declared: spdxNone, Copyright: spdxNone}
}

// module is a Go module; its purl is how databases of vulnerabilities know it.
func (r *release) module(path, version, sum string) spdxPackage {
	id := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' {
			return c
		}
		return '-'
	}, path+"-"+version)
	p := r.spdx("SPDXRef-"+id, path, version)
	p.ExternalRefs = []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + path + "@" + version}}
	if sum != "" {
		p.Comment = "go.sum: " + sum
	}
	return p
}
