// A private certificate authority made by openssl, for servers and proxies on loopback.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type Certificate = { readonly key: string; readonly cert: string }

export type Authority = {
  /** Where its own certificate is, as `ca_file` names it. */
  readonly caFile: string
  readonly ca: string
  /** For host names and addresses. */
  issue(...hosts: string[]): Certificate
  /** Removes the files. */
  remove(): void
}

export const createAuthority = (name: string): Authority => {
  const folder = mkdtempSync(join(tmpdir(), 'authority-'))
  const at = (file: string): string => join(folder, file)
  const openssl = (...words: string[]): void => void execFileSync('openssl', words, { cwd: folder, stdio: 'pipe' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '30', '-subj', `/CN=${name}`)
  let issued = 0
  return {
    caFile: at('ca.pem'),
    ca: readFileSync(at('ca.pem'), 'utf8'),
    issue(...hosts) {
      const file = `leaf-${++issued}`
      const names = hosts.map(host => `${/^[\d.]+$|:/.test(host) ? 'IP' : 'DNS'}:${host}`)
      writeFileSync(at(`${file}.ext`), `subjectAltName=${names.join(',')}\n`)
      openssl('req', ...newKey, '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', `/CN=${hosts[0]}`)
      const signer = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-set_serial', String(issued)]
      openssl('x509', '-req', '-in', `${file}.csr`, ...signer, '-days', '30', '-extfile', `${file}.ext`, '-out', file)
      return { key: readFileSync(at(`${file}.key`), 'utf8'), cert: readFileSync(at(file), 'utf8') }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}
