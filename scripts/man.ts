// Writes the manual pages into the folder that is given: node scripts/man.ts FOLDER

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { COMMANDS } from '../src/cli/commands.ts'
import { manPage } from '../src/cli/man.ts'
import { VERSION } from '../src/service/process.ts'

const [folder] = process.argv.slice(2)
if (folder === undefined) {
  process.stderr.write('man: the folder is missing\n')
  process.exit(64)
}
mkdirSync(folder, { recursive: true })
writeFileSync(join(folder, 'ghconnect.1'), manPage(COMMANDS, VERSION))
