// The frame of every page of the sandbox: plain HTML that says it is not GitHub.

import { html } from 'hono/html'

export type Html = ReturnType<typeof html>

const STYLE =
  'body{font:16px/1.5 sans-serif;max-width:48rem;margin:0 auto;padding:0 1rem}.sandbox{background:#fff8c5;border:1px solid #d4a72c;padding:.5rem 1rem;margin:1rem 0}form{margin:1rem 0}button{font:inherit;padding:.25rem 1rem}label{display:block}code{overflow-wrap:anywhere}.error{color:#cf222e}'

export const page = async (title: string, body: Html, status = 200): Promise<Response> => {
  const document = await html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title} · GitHub sandbox</title><style>${STYLE}</style></head>
<body>
<p class="sandbox"><strong>This is a local sandbox, not GitHub.</strong> It runs on this machine for development and tests. Nothing here is real.</p>
<h1>${title}</h1>
${body}
</body>
</html>`
  return new Response(String(document), {
    status,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'content-security-policy':
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
    },
  })
}

export const problem = (status: number, ...messages: string[]): Promise<Response> =>
  page(
    status === 404 ? 'Page not found' : 'That did not work',
    html`${messages.map(text => html`<p class="error">${text}</p>`)}`,
    status,
  )

/** A button that posts to `action`. */
export const button = (action: string, label: string): Html =>
  html`<form method="post" action="${action}"><button type="submit">${label}</button></form>`

export const redirect = (to: string): Response => new Response(null, { status: 302, headers: { location: to } })

/** Adds parameters to an address that may already have some. */
export const withQuery = (address: string, parameters: Record<string, string | undefined>): string => {
  const url = new URL(address)
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) url.searchParams.set(name, value)
  return url.href
}
