// What the page can do where scripts run: keep itself fresh, open dialogs, take dropped files, make recovery keys. Without it all forms still work.

const shell = document.getElementById('shell')
const language = document.documentElement.lang
/** The server's clock counts: this machine's may be off. */
const offsetMs = document.body.dataset.now ? Date.parse(document.body.dataset.now) - Date.now() : 0
const now = () => Date.now() + offsetMs

// Times and bars ------------------------------------------------------------------------------------------------------

const relative = new Intl.RelativeTimeFormat(language)
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/** The same rule as the server's, in views/format.ts. */
const formatRelative = away => {
  const size = Math.abs(away)
  if (size < MINUTE_MS) return away > 0 ? document.body.dataset.soon : document.body.dataset.justNow
  if (size < HOUR_MS) return relative.format(Math.trunc(away / MINUTE_MS), 'minute')
  if (size < 48 * HOUR_MS) return relative.format(Math.trunc(away / HOUR_MS), 'hour')
  return relative.format(Math.trunc(away / (24 * HOUR_MS)), 'day')
}

const tick = () => {
  for (const time of document.querySelectorAll('time[data-relative]')) {
    const text = formatRelative(Date.parse(time.dateTime) - now())
    if (time.textContent !== text) time.textContent = text
  }
  for (const bar of document.querySelectorAll('[data-from][data-until]')) {
    const from = Date.parse(bar.dataset.from)
    const until = Date.parse(bar.dataset.until)
    bar.setAttribute('width', String(Math.min(100, Math.max(0, ((now() - from) / (until - from)) * 100))))
  }
}
setInterval(tick, 1000)

// What a part of the page needs once it is there ----------------------------------------------------------------------

const wire = root => {
  for (const opener of root.querySelectorAll('[data-opens]')) {
    opener.addEventListener('click', event => {
      event.preventDefault()
      document.getElementById(opener.dataset.opens)?.showModal()
    })
  }
  for (const closer of root.querySelectorAll('[data-closes]')) {
    closer.addEventListener('click', () => closer.closest('dialog')?.close())
  }
  for (const dialog of root.querySelectorAll('dialog')) {
    dialog.addEventListener('click', event => event.target === dialog && dialog.close())
  }
  for (const field of root.querySelectorAll('[data-confirm]')) wireConfirm(field)
  for (const form of root.querySelectorAll('form[data-drop]')) wireDrop(form)
  for (const form of root.querySelectorAll('form[data-check]')) wireCheck(form)
  for (const part of root.querySelectorAll('[data-recovery]')) void wireRecovery(part)
}

/** The button stays out of reach until the name is typed. The server looks again. */
const wireConfirm = field => {
  const button = field.form.querySelector('[type=submit]')
  const look = () => {
    button.disabled = field.value.trim().toLowerCase() !== field.dataset.confirm.toLowerCase()
  }
  field.addEventListener('input', look)
  look()
}

const wireDrop = form => {
  const input = form.querySelector('input[type=file]')
  const text = form.querySelector('textarea')
  for (const hint of form.querySelectorAll('.drop-hint')) hint.hidden = false
  form.addEventListener('dragover', event => {
    event.preventDefault()
    form.classList.add('dropping')
  })
  form.addEventListener('dragleave', () => form.classList.remove('dropping'))
  form.addEventListener('drop', event => {
    event.preventDefault()
    form.classList.remove('dropping')
    if (event.dataTransfer.files.length === 0) return
    input.files = event.dataTransfer.files
    text.value = ''
  })
  // One of the two is enough, and the server takes either.
  const demand = () => {
    text.required = input.files.length === 0
  }
  input.addEventListener('change', demand)
  form.addEventListener('drop', demand)
  demand()
}

// The check, row by row -----------------------------------------------------------------------------------------------

const wireCheck = form => {
  form.addEventListener('submit', event => {
    event.preventDefault()
    void runCheck(form)
  })
}

const runCheck = async form => {
  const rows = document.querySelector('[data-rows]')
  const summary = document.querySelector('[data-summary]')
  const running = form.querySelector('[data-running]')
  const words = running.querySelector('[data-text]')
  const button = form.querySelector('button')
  button.disabled = true
  running.classList.add('waiting')
  words.textContent = words.dataset.text
  rows.replaceChildren()
  summary.replaceChildren()
  try {
    const answer = await fetch(form.action, {
      method: 'POST',
      body: new URLSearchParams(new FormData(form)),
      headers: { accept: 'application/x-ndjson' },
    })
    // Signed out, or a server that does not stream: the page says which.
    if (!answer.headers.get('content-type')?.startsWith('application/x-ndjson')) return location.reload()
    for await (const line of linesOf(answer.body)) {
      const { row, summary: end } = JSON.parse(line)
      if (row !== undefined) rows.insertAdjacentHTML('beforeend', row)
      if (end !== undefined) summary.innerHTML = end
    }
    words.textContent = ''
  } catch {
    words.textContent = running.dataset.failed
  } finally {
    button.disabled = false
    running.classList.remove('waiting')
  }
}

async function* linesOf(body) {
  let rest = ''
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n')
    rest = lines.pop()
    yield* lines.filter(line => line !== '')
  }
  if (rest !== '') yield rest
}

// A recovery key, made here: an age identity of which only the recipient is sent -----------------------------------------

const wireRecovery = async part => {
  try {
    await crypto.subtle.generateKey('X25519', true, ['deriveBits'])
  } catch {
    return
  }
  part.hidden = false
  part.querySelector('[data-make]').addEventListener('click', async event => {
    const { identity, recipient } = await makeIdentity()
    const file = `# created: ${new Date(now()).toISOString()}\n# public key: ${recipient}\n# ${part.dataset.comment}\n# Machine: ${part.dataset.host}\n${identity}\n`
    part.querySelector('[data-file]').textContent = file
    part.querySelector('input[name=recipient]').value = recipient
    part.querySelector('[data-download]').href = URL.createObjectURL(new Blob([file], { type: 'text/plain' }))
    part.querySelector('[data-made]').hidden = false
    event.target.disabled = true
    part.querySelector('[data-file]').focus()
  })
}

const makeIdentity = async () => {
  const { privateKey, publicKey } = await crypto.subtle.generateKey('X25519', true, ['deriveBits'])
  const { d } = await crypto.subtle.exportKey('jwk', privateKey)
  const bytes = Uint8Array.from(atob(d.replaceAll('-', '+').replaceAll('_', '/')), char => char.charCodeAt(0))
  const raw = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey))
  return { identity: bech32('age-secret-key-', bytes).toUpperCase(), recipient: bech32('age', raw) }
}

const ALPHABET = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'

/** BIP 173, without its limit on length, as age uses it. */
const bech32 = (prefix, bytes) => {
  const data = inFives(bytes)
  const expanded = [
    ...[...prefix].map(char => char.charCodeAt(0) >> 5),
    0,
    ...[...prefix].map(char => char.charCodeAt(0) & 31),
  ]
  const sum = checksum([...expanded, ...data, 0, 0, 0, 0, 0, 0]) ^ 1
  const tail = [0, 1, 2, 3, 4, 5].map(index => (sum >> (5 * (5 - index))) & 31)
  return `${prefix}1${[...data, ...tail].map(value => ALPHABET[value]).join('')}`
}

const inFives = bytes => {
  const bits = [...bytes].map(byte => byte.toString(2).padStart(8, '0')).join('')
  return (bits.match(/.{1,5}/g) ?? []).map(part => Number.parseInt(part.padEnd(5, '0'), 2))
}

const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3]

const checksum = values => {
  let sum = 1
  for (const value of values) {
    const top = sum >> 25
    sum = ((sum & 0x1ffffff) << 5) ^ value
    for (const [index, term] of GENERATOR.entries()) if ((top >> index) & 1) sum ^= term
  }
  return sum
}

// Fresh without a reload ------------------------------------------------------------------------------------------------

const announce = document.getElementById('announce')

/** Somebody types into it, or has it open. */
const isBusy = part => {
  const active = document.activeElement
  if (active && part.contains(active) && active.matches('input, textarea, select')) return true
  return document.querySelector('dialog[open]') !== null
}

const isTypedInto = part =>
  [...part.querySelectorAll('input:not([type=hidden]), textarea')].some(field =>
    field.type === 'checkbox' || field.type === 'radio'
      ? field.checked !== field.defaultChecked
      : field.value !== field.defaultValue,
  )

const update = async () => {
  const answer = await fetch(shell.dataset.page, { headers: { accept: 'text/html' }, redirect: 'follow' })
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
  const fresh = page.getElementById('shell')
  // The session is over: the server says so on the whole page.
  if (!answer.ok || !fresh) return location.reload()
  if (fresh.dataset.state !== shell.dataset.state) {
    const content = document.getElementById('content')
    if (isBusy(content) || isTypedInto(content)) return
    shell.dataset.state = fresh.dataset.state
    replace(content, page.getElementById('content'))
    announce.textContent = page.getElementById('announce').dataset.text
    return
  }
  for (const part of document.querySelectorAll('[data-live]')) {
    const newer = page.getElementById(part.id)
    if (newer && !isBusy(part) && newer.innerHTML !== part.innerHTML) replace(part, newer)
  }
}

const replace = (part, newer) => {
  const open = [...part.querySelectorAll('details')].map(details => details.open)
  const focused = part.contains(document.activeElement) ? pathOf(document.activeElement, part) : undefined
  part.replaceChildren(...newer.childNodes)
  for (const [index, details] of part.querySelectorAll('details').entries()) details.open = open[index] ?? false
  wire(part)
  tick()
  if (focused) (part.querySelector(focused) ?? document.getElementById('content')).focus({ preventScroll: true })
}

/** Where the same element will be in the newer part. */
const pathOf = (element, part) => {
  const steps = []
  for (let at = element; at !== part; at = at.parentElement) {
    steps.unshift(`${at.localName}:nth-child(${[...at.parentElement.children].indexOf(at) + 1})`)
  }
  return steps.length === 0 ? undefined : `:scope > ${steps.join(' > ')}`
}

const POLL_MS = 15_000
/** A daemon that is restarted is back before. */
const LOST_MS = 10_000
const REFUSED_MS = MINUTE_MS

const follow = () => {
  let due
  let missed = false
  const soon = () => {
    clearTimeout(due)
    if (document.hidden) missed = true
    else due = setTimeout(() => void update().catch(() => {}), 300)
  }
  // Without events the page asks by itself, and says so.
  const notice = document.getElementById('polling')
  let lost
  let polling
  const poll = () => {
    if (polling) return
    polling = setInterval(soon, POLL_MS)
    notice.textContent = notice.dataset.text
    soon()
  }
  let opened = false
  const listen = () => {
    const events = new EventSource(shell.dataset.events)
    events.addEventListener('message', soon)
    events.addEventListener('open', () => {
      clearTimeout(lost)
      clearInterval(polling)
      lost = polling = undefined
      notice.textContent = ''
      // A daemon that was restarted has more to tell than it tells.
      if (opened) soon()
      opened = true
    })
    events.addEventListener('error', () => {
      // The browser asks again by itself, but not where it was refused.
      if (events.readyState !== EventSource.CLOSED) lost ??= setTimeout(poll, LOST_MS)
      else {
        poll()
        setTimeout(listen, REFUSED_MS)
      }
    })
  }
  listen()
  document.addEventListener('visibilitychange', () => {
    if (document.hidden || !missed) return
    missed = false
    soon()
  })
}

wire(document)
tick()
if (shell) follow()
