// Small pictures, drawn with strokes in the colour of the text around them. They repeat what the text says: none has a name of its own.

import { html } from 'hono/html'
import type { Html } from './html.ts'

const PATHS = {
  check: 'M3 8.5l3.2 3.2L13 4.8',
  cross: 'M4 4l8 8M12 4l-8 8',
  alert: 'M8 2.2L14.4 13.4H1.6zM8 6.4v3.4M8 11.6v.2',
  info: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M8 7.4v3.8M8 4.8v.2',
  dot: 'M8 5.6a2.4 2.4 0 1 0 0 4.8A2.4 2.4 0 1 0 8 5.6',
  dash: 'M4 8h8',
  clock: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M8 4.4V8l2.4 1.8',
  external: 'M9.5 2.5h4v4M13.5 2.5L7.5 8.5M11.5 9.5v3.2a.8.8 0 0 1-.8.8H3.3a.8.8 0 0 1-.8-.8V5.3a.8.8 0 0 1 .8-.8h3.2',
  plug: 'M5.5 1.8v3.4M10.5 1.8v3.4M3.5 5.2h9v2.3a4.5 4.5 0 0 1-9 0zM8 12v2.4',
  pulse: 'M1.5 8.5h3l2-5 3 9 2-4h3',
  key: 'M10.4 2a3.6 3.6 0 1 0 0 7.2 3.6 3.6 0 0 0 0-7.2M7.8 8.2L2 14M4.2 11.8l1.8 1.8',
  shield: 'M8 1.8l5.2 1.8v4.2c0 3.2-2.2 5.2-5.2 6.4-3-1.2-5.2-3.2-5.2-6.4V3.6z',
  lock: 'M3.4 7h9.2v6.8H3.4zM5.2 7V4.8a2.8 2.8 0 0 1 5.6 0V7',
  home: 'M2 7.4L8 2.2l6 5.2M3.6 6.2v7.6h8.8V6.2',
  person: 'M8 2.2a2.9 2.9 0 1 0 0 5.8 2.9 2.9 0 1 0 0-5.8M2.4 14c.5-3 2.7-4.4 5.6-4.4s5.1 1.4 5.6 4.4',
  globe: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M1.8 8h12.4M8 1.8c-4 4-4 8.4 0 12.4 4-4 4-8.4 0-12.4',
  server: 'M2.2 2.6h11.6v4.2H2.2zM2.2 9.2h11.6v4.2H2.2zM4.8 4.7h.2M4.8 11.3h.2',
} as const

export type IconName = keyof typeof PATHS

export const icon = (name: IconName): Html =>
  html`<svg class="icon icon-${name}" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false"><path d="${PATHS[name]}"/></svg>`
