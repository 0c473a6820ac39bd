package docs

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
)

// What all pages have: a head with their style, the list of pages, and the page. There is no script. On a narrow screen
// the list comes behind the page, and the first link leads to it; on a wide one it stands at the left. Colours follow the
// reader's system.

const style = `
:root{color-scheme:light dark;--line:#8886;--soft:#8881;--link:#0550ae;--text:#1b1b1b;--page:#fff}
@media (prefers-color-scheme:dark){:root{--link:#79b8ff;--text:#e8e8e8;--page:#141414}}
html{color:var(--text);background:var(--page)}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,sans-serif;margin:0 auto;max-width:78rem;padding:0 1rem 3rem}
a{color:var(--link)}
a:focus-visible,pre:focus-visible,.wide:focus-visible{outline:2px solid var(--link);outline-offset:2px}
header{display:flex;gap:1rem;align-items:baseline;padding:.8rem 0;border-bottom:1px solid var(--line);margin-bottom:1rem}
header b{font-size:1.15rem}
main{min-width:0;max-width:52rem;overflow-wrap:break-word}
h1{font-size:1.7rem;line-height:1.25;margin:.6rem 0 1rem}
h2{font-size:1.25rem;margin-top:2.4rem;border-top:1px solid var(--line);padding-top:1rem}
h3{font-size:1.05rem;margin:1.8rem 0 .3rem}
.anchor{text-decoration:none;font-weight:normal;padding-left:.4rem;opacity:.8}
.anchor:hover,.anchor:focus{opacity:1}
code,.call{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.88em}
:not(pre)>code{background:var(--soft);padding:.1em .25em;border-radius:3px}
pre{background:var(--soft);border:1px solid var(--line);border-radius:5px;padding:.7rem .9rem;overflow-x:auto;line-height:1.45}
.wide{overflow-x:auto}
table{border-collapse:collapse}
td:first-child>code:only-child{white-space:nowrap}
td,th{text-align:left;vertical-align:top;padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line)}
td[align=right],th[align=right]{text-align:right}
img{max-width:100%;background:#fff}
.method{font-weight:bold;margin-right:.5rem}
ul.calls{columns:20rem;list-style:none;padding:0}
nav{border-top:1px solid var(--line);margin-top:3rem;padding-top:1rem;font-size:.95rem}
nav ul{list-style:none;padding:0;margin:.2rem 0 1rem}
nav ul ul{padding-left:1rem;margin:.2rem 0;font-size:.92em}
nav li{padding:.12rem 0}
nav a{text-decoration:none}
nav a:hover{text-decoration:underline}
nav [aria-current]{font-weight:bold}
@media (min-width:56rem){
.page{display:grid;grid-template-columns:14rem minmax(0,1fr);gap:2.5rem}
nav{grid-row:1;grid-column:1;border:0;margin:0;position:sticky;top:0;align-self:start;max-height:100vh;overflow-y:auto}
main{grid-row:1;grid-column:2}
.tolist{display:none}
}
@media print{nav,.tolist,.anchor{display:none}}
`

// Policy is the Content-Security-Policy of the pages: their own style and drawings, nothing else and from nowhere else.
var Policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// layout puts a page together.
func layout(p *page, c *content) []byte {
	b := &bytes.Buffer{}
	fmt.Fprintf(b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\" /><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\" />"+
		"<title>%s · Ayder</title><style>%s</style></head>\n<body>\n", html.EscapeString(c.title), style)
	b.WriteString("<header><b><a href=\"/docs\">Ayder</a></b> <a class=\"tolist\" href=\"#pages\">All pages</a></header>\n<div class=\"page\">\n<main>\n")
	b.WriteString(c.html)
	b.WriteString("</main>\n<nav id=\"pages\" aria-label=\"Pages\">\n")
	for _, s := range sections {
		fmt.Fprintf(b, "<b>%s</b>\n<ul>\n", html.EscapeString(s.label))
		for _, other := range s.pages {
			listed(b, other, other == p, c)
		}
		b.WriteString("</ul>\n")
	}
	b.WriteString("</nav>\n</div>\n</body></html>\n")
	return b.Bytes()
}

// listed is a page's line in the list of pages. The one that is shown has its sections below it.
func listed(b *bytes.Buffer, p *page, shown bool, c *content) {
	if !shown {
		fmt.Fprintf(b, "<li><a href=\"%s\">%s</a></li>\n", p.url(), html.EscapeString(p.label))
		return
	}
	fmt.Fprintf(b, "<li><a href=\"%s\" aria-current=\"page\">%s</a>", p.url(), html.EscapeString(p.label))
	if len(c.headings) > 0 {
		b.WriteString("\n<ul>\n")
		for _, h := range c.headings {
			fmt.Fprintf(b, "<li><a href=\"#%s\">%s</a></li>\n", html.EscapeString(h.id), html.EscapeString(h.text))
		}
		b.WriteString("</ul>\n")
	}
	b.WriteString("</li>\n")
}
