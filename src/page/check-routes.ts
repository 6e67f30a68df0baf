// The doctor on the page: its last report, and a new one, row by row where the page's script asks for it.

import type { Context, Hono } from 'hono'
import { asFailure } from '../protocol/errors.ts'
import type { CheckReport, CheckRow } from '../protocol/wire-check.ts'
import type { Env, WebDeps } from './deps.ts'
import { failureFacts } from './model-of.ts'
import { type Language, ROUTES } from './model.ts'
import { noteDeed, readFields } from './requests.ts'
import { failureBanner } from './views/failure.ts'
import { withoutDisguise } from './views/format.ts'
import type { Html } from './views/html.ts'
import { checkRow, checkSummary } from './views/views.ts'

const LINES = 'application/x-ndjson'

export const addCheckRoutes = (
  inside: Hono<Env>,
  deps: WebDeps,
  show: (c: Context<Env>, report: CheckReport | undefined) => Response | Promise<Response>,
): void => {
  let last: CheckReport | undefined

  inside.get(ROUTES.checkPage.path, c => show(c, last))
  inside.post(ROUTES.check.path, async c => {
    await readFields(c)
    const { visitor, prefix } = c.get('session')
    noteDeed(deps, visitor, 'check')
    if (c.req.header('accept') === LINES) {
      return c.body(
        linesOf(deps, c.get('language'), report => (last = report)),
        200,
        { 'content-type': LINES },
      )
    }
    last = await deps.check(() => {})
    return c.redirect(prefix + ROUTES.checkPage.path, 303)
  })
}

/** A line for each row as it comes, one for the whole at the end, or for what it broke off with. */
const linesOf = (
  { check, clock, log }: WebDeps,
  language: Language,
  onReport: (report: CheckReport) => void,
): ReadableStream<Uint8Array> => {
  const encoder = new TextEncoder()
  let isRead = true
  return new ReadableStream({
    async start(controller) {
      const send = async (name: 'row' | 'summary', html: Html): Promise<void> => {
        const text = String(await html)
        if (isRead) controller.enqueue(encoder.encode(`${JSON.stringify({ [name]: text })}\n`))
      }
      const sending: Promise<void>[] = []
      try {
        const report = await check(
          (row: CheckRow) => void sending.push(send('row', checkRow(withoutDisguise(row), language))),
        )
        onReport(report)
        await Promise.all(sending)
        await send('summary', checkSummary(report, { language, nowMs: clock.now() }))
      } catch (error) {
        const failure = asFailure(error)
        log.error('a check broke off', { error: failure })
        await send('summary', failureBanner(failureFacts(failure), language))
      }
      if (isRead) controller.close()
    },
    cancel() {
      isRead = false
    },
  })
}
