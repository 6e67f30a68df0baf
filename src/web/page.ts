// The frame of every page: one style, no script, nothing fetched from elsewhere.

import { html } from 'hono/html'

export type Html = ReturnType<typeof html>

export const page = (title: string, body: Html): Html => html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · GitHub Connect</title>
<link rel="stylesheet" href="/style.css">
</head>
<body><main><h1>${title}</h1>
${body}
</main></body>
</html>`

export const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0; background: Canvas; color: CanvasText; }
main { max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; }
button { font: inherit; padding: .4rem 1rem; border: 1px solid #1a7f37; border-radius: 6px; background: #1f883d; color: #fff; cursor: pointer; }
code { font-size: .9em; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem; }
`
