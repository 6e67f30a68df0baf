// The least of a browser: goes to pages, keeps cookies, follows redirects, submits forms, and remembers its steps.

import { formsOf, textOf, type Form } from './forms.ts'

export type Step = { method: string; url: string; status: number }

/** Where the browser stands: the page, or the redirect that it was told not to follow. */
export type Place = { url: string; status: number; html: string; redirectTo?: string }

export type Browser = {
  readonly steps: readonly Step[]
  /** Follows redirects for as long as `follow` says so. */
  open(url: string, follow?: (to: string) => boolean): Promise<Place>
  submit(form: Form, follow?: (to: string) => boolean): Promise<Place>
}

const MAX_REDIRECTS = 10
const DEADLINE_MS = 30_000

export const createBrowser = (): Browser => {
  const steps: Step[] = []
  const jars = new Map<string, Map<string, string>>()
  const go = async (to: string, follow: (to: string) => boolean, body?: URLSearchParams): Promise<Place> => {
    let url = to
    let sent = body
    for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
      const { origin } = new URL(url)
      const jar = jars.get(origin) ?? new Map<string, string>()
      jars.set(origin, jar)
      const method = sent === undefined ? 'GET' : 'POST'
      const response = await fetch(url, {
        method,
        redirect: 'manual',
        signal: AbortSignal.timeout(DEADLINE_MS),
        headers: {
          accept: 'text/html',
          'user-agent': 'sandbox-owner',
          ...(jar.size > 0 ? { cookie: [...jar].map(pair => pair.join('=')).join('; ') } : {}),
        },
        ...(sent === undefined ? {} : { body: sent }),
      })
      const html = await response.text()
      for (const cookie of response.headers.getSetCookie()) keep(jar, cookie)
      steps.push({ method, url, status: response.status })
      const location = response.headers.get('location')
      if (location === null || response.status < 300 || response.status > 399)
        return { url, status: response.status, html }
      const next = new URL(location, url).href
      if (!follow(next)) return { url, status: response.status, html, redirectTo: next }
      url = next
      sent = undefined
    }
    throw new Error(`too many redirects, the last to ${url}`)
  }
  return {
    steps,
    open: (url, follow = always) => go(url, follow),
    submit: (form, follow = always) => go(form.action, follow, form.fields),
  }
}

/** The first form of the page that fits. Throws with the page's own words where there is none. */
export const formOn = (place: Place, wanted: string, fits: (form: Form) => boolean): Form => {
  const found = formsOf(place.html, place.url).find(form => form.method === 'post' && fits(form))
  if (found && place.status < 400) return found
  throw stuck(place, wanted)
}

/** What to throw where a page leads no further. */
export const stuck = (place: Place, wanted: string): Error =>
  new Error(`no ${wanted} on ${place.url} (${place.status}): ${textOf(place.html).slice(0, 500)}`)

const always = (): boolean => true

const keep = (jar: Map<string, string>, cookie: string): void => {
  const [pair = '', ...attributes] = cookie.split(';')
  const equals = pair.indexOf('=')
  if (equals < 1) return
  const name = pair.slice(0, equals).trim()
  if (attributes.some(attribute => /^\s*max-age=0\s*$/i.test(attribute))) jar.delete(name)
  else jar.set(name, pair.slice(equals + 1).trim())
}
