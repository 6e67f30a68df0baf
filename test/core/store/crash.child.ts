// Writes without end into a store and says on standard output what is durable, so that it can be killed at any moment.

import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { openAudit } from '../../../src/core/audit/audit-store.ts'
import { openStore } from '../../../src/core/store/database.ts'
import { keyNamed, silentLog, STORE_KEY, tokenFor } from './samples.ts'

const state = process.argv[2] ?? ''
const store = openStore({ folder: join(state, 'store'), storeKey: STORE_KEY, log: silentLog })
const audit = openAudit({ path: join(state, 'audit.db'), storeKey: STORE_KEY, log: silentLog })
const found = Number(store.facts.find('last') ?? 0)

for (let i = found + 1; ; i++) {
  const change = { keys: [keyNamed(`key ${i}`)], newGeneration: true }
  if (i % 4 === 0) store.replace(change)
  else store.connection.write(change)
  writeSync(1, `connection ${i}\n`)
  await store.tokens.write([tokenFor({ installation: 1 }, 'current', `token ${i}`)])
  writeSync(1, `token ${i}\n`)
  audit.append({ event: 'test.write', atMs: i })
  writeSync(1, `audit ${i}\n`)
  store.facts.put('last', i)
}
