// What a view gives: text for the browser, escaped as it was put together.

import type { html } from 'hono/html'

export type Html = ReturnType<typeof html>
