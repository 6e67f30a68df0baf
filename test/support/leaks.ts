// Looks for secrets where none may be: in files, and in what the kernel shows of a process.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export type Needle = { readonly name: string; readonly text: string }

/** Each as it is, and as base64, base64url and hexadecimal would show it. */
export const findLeaks = (haystack: Buffer, needles: readonly Needle[]): string[] =>
  needles.flatMap(({ name, text }) => {
    const bytes = Buffer.from(text)
    // Base64 depends on the place in the group of three: the middle of each of the three is looked for.
    const base64 = [0, 1, 2].map(shift => bytes.subarray(shift, shift + 3 * Math.floor((bytes.length - shift) / 3)))
    const forms = [bytes, Buffer.from(bytes.toString('hex')), Buffer.from(bytes.toString('hex').toUpperCase())]
    const encoded = base64.flatMap(part => [part.toString('base64'), part.toString('base64url')])
    // What is short would be found by chance in another form.
    const all = text.length < 16 ? [bytes] : [...forms, ...encoded.map(part => Buffer.from(part))]
    return all.some(form => haystack.includes(form)) ? [name] : []
  })

/** Every file below, as `file: needle`. */
export const findLeaksBelow = (folder: string, needles: readonly Needle[]): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .flatMap(({ parentPath, name }) => {
      const path = join(parentPath, name)
      return findLeaks(readFileSync(path), needles).map(leak => `${path}: ${leak}`)
    })

/** What other processes may see of one, where it lets them. */
export const findLeaksInProc = (pid: number, needles: readonly Needle[]): string[] =>
  ['cmdline', 'environ', 'comm'].flatMap(file =>
    findLeaks(readFileSync(`/proc/${pid}/${file}`), needles).map(leak => `${file}: ${leak}`),
  )
