// Writes the settings page's style sheet as a package has it, with its part of @primer/primitives: node scripts/style.ts >FILE

import { composeStyle } from '../src/page/assets.ts'

process.stdout.write(await composeStyle())
