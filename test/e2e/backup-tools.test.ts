// The examples of docs/backup.md with the tools themselves: backup, damage, restore onto a new root; and an export that fails makes the backup fail.

import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type Appliance, createAppliance, PROFILE } from '../support/appliance.ts'
import {
  createConnected,
  createRecoveryKey,
  createSuccessor,
  credentialsOf,
} from '../support/backup-utils/credentials.ts'
import type { Outcome } from '../support/backup-utils/site.ts'
import { commandsOf, EXAMPLES, placeExample, type Shell, shellOf } from '../support/backup-utils/tools.ts'

const KEY = 'recovery-key.txt'

type Tool = {
  /** For every command of the tool. */
  readonly env?: Readonly<Record<string, string>>
  readonly prepare?: string
  readonly backup: string
  /** Prints how many backups there are. */
  readonly count: string
  readonly restore: string
  /** Whether a backup went well, where the exit code does not say. */
  readonly wentWell?: (outcome: Outcome) => boolean
  /** Codes of an export that make this tool fail; 75 is told apart. */
  readonly failing: readonly number[]
}

/** `place` is a folder of the tool's own, which outlives the appliance. */
const proveTool = async (t: ExecutionContext, describe: (place: string) => Tool): Promise<void> => {
  const original = await createAppliance()
  const place = join(original.folder, 'tool')
  mkdirSync(place)
  const { identityFile, recipient } = createRecoveryKey(original.folder, KEY)
  original.configure(`${PROFILE}[snapshot]\nrecipients = ["${recipient}"]\n`)
  const tool = describe(place)
  const wentWell = tool.wentWell ?? (({ code }) => code === 0)
  const env = { ...tool.env, HOME: place }
  try {
    await original.start()
    await original.enable()
    const shell = shellOf(original, { env })
    const run = async (script: string): Promise<string> => {
      const { code, stdout, stderr } = await shell(script)
      t.is(code, 0, `${script}\n${stdout}${stderr}`)
      return stdout.trim()
    }
    if (tool.prepare !== undefined) await run(tool.prepare)
    const first = await shell(tool.backup)
    t.true(wentWell(first), first.stdout + first.stderr)
    t.is(await run(tool.count), '1')
    for (const failing of tool.failing) {
      const outcome = await shellOf(original, { env, failing })(tool.backup)
      t.false(wentWell(outcome), `an export that ends with ${failing}: ${outcome.stdout}${outcome.stderr}`)
    }
    t.is(await run(tool.count), '1', 'what failed left no backup')
    const { credentials } = await credentialsOf(original, identityFile)

    await original.kill('SIGKILL')
    rmSync(original.state, { recursive: true })
    rmSync(join(original.folder, 'store.key'))
    await restoreElsewhere(t, { original, env, restore: tool.restore, credentials })
  } finally {
    await original.close()
  }
}

const restoreElsewhere = async (
  t: ExecutionContext,
  lost: { original: Appliance; env: Record<string, string>; restore: string; credentials: unknown },
): Promise<void> => {
  const target = await createSuccessor(lost.original)
  try {
    copyFileSync(join(lost.original.folder, KEY), join(target.folder, KEY))
    await target.start()
    const { code, stdout, stderr } = await shellOf(target, { env: lost.env })(lost.restore)
    t.is(code, 0, stdout + stderr)
    await target.until('connected')
    t.deepEqual((await credentialsOf(target, join(target.folder, KEY))).credentials, lost.credentials)
    t.is((await target.ask('POST', '/v1/tokens', { repositories: ['web'] })).status, 200)
  } finally {
    await target.close()
  }
}

test.serial('restic', async t => {
  await proveTool(t, place => {
    const folder = join(place, 'run')
    return {
      env: {
        RESTIC_REPOSITORY: join(place, 'repository'),
        RESTIC_PASSWORD: 'test',
        RUNTIME_DIRECTORY: folder,
      },
      prepare: 'restic init',
      backup: join(EXAMPLES, 'restic.sh'),
      count: `test ! -e ${folder}/github-connect.tar && restic snapshots --json | jq length`,
      restore: commandsOf('restic', { '/run/github-connect-backup': folder }),
      failing: [69, 70, 75],
    }
  })
})

test.serial('restic --stdin keeps what a failing export left, which is why the example writes a file', async t => {
  const appliance = await createAppliance()
  try {
    const env = { RESTIC_REPOSITORY: join(appliance.folder, 'repository'), RESTIC_PASSWORD: 'test' }
    const shell = shellOf(appliance, { env, failing: 69 })
    const outcome = await shell('restic init && ghconnect snapshot export | restic backup --stdin --quiet')
    t.is(outcome.code, 0)
    t.is((await shell('restic snapshots --json | jq length')).stdout.trim(), '1')
  } finally {
    await appliance.close()
  }
})

test.serial('borg', async t => {
  await proveTool(t, place => ({
    env: { BORG_REPO: join(place, 'repository'), BORG_PASSPHRASE: 'test', BORG_BASE_DIR: place },
    prepare: 'borg init --encryption repokey',
    backup: join(EXAMPLES, 'borg.sh'),
    count: 'borg list --short | wc -l',
    restore: commandsOf('borg'),
    failing: [69, 70, 75],
  }))
})

/** The example with its places in the test's folder, and a command that runs it. */
const placeBorgmatic = (place: string): { moves: Record<string, string>; command: string } => {
  const moves = { '/run/github-connect-backup': join(place, 'run'), '/srv/borg': join(place, 'repository') }
  const passphrase = join(place, 'passphrase')
  writeFileSync(passphrase, 'test\n')
  const file = join(place, 'github-connect.yaml')
  placeExample('borgmatic.yaml', { ...moves, '/etc/borgmatic.d/passphrase': passphrase }, file)
  // Without a log file it wants a syslog daemon.
  const options = `${file} --log-file ${place}/borgmatic.log`
  return {
    moves: { ...moves, '/etc/borgmatic.d/github-connect.yaml': options },
    command: `borgmatic --config ${options}`,
  }
}

const countArchives = (place: string): string =>
  `test ! -e ${place}/run/github-connect.tar && BORG_PASSPHRASE=test borg list --short ${place}/repository | wc -l`

test.serial('borgmatic', async t => {
  await proveTool(t, place => {
    const { moves, command } = placeBorgmatic(place)
    const { '/srv/borg': _, ...inCommands } = moves
    return {
      env: { BORG_BASE_DIR: place },
      prepare: `${command} init --encryption repokey`,
      backup: command,
      count: countArchives(place),
      restore: commandsOf('borgmatic', inCommands),
      failing: [69, 70],
    }
  })
})

test.serial(
  'borgmatic takes a hook that ends with 75 for a success without a backup, and our hooks never end so',
  async t => {
    const appliance = await createAppliance()
    try {
      const place = appliance.folder
      const { command } = placeBorgmatic(place)
      const env = { BORG_BASE_DIR: place }
      t.is((await shellOf(appliance, { env })(`${command} init --encryption repokey`)).code, 0)
      const shell = shellOf(appliance, { env, failing: 75 })
      t.is((await shell(command)).code, 0)
      t.is((await shell(countArchives(place))).stdout.trim(), '0')
      t.is((await shell('ghe-export-github-connect')).code, 69)
    } finally {
      await appliance.close()
    }
  },
)

/** The example as its one action; the command prints the log of its run. */
const placeBackupninja = (place: string): { backups: string; command: string } => {
  const actions = join(place, 'backup.d')
  const backups = join(place, 'backups')
  for (const folder of [actions, backups]) mkdirSync(folder, { mode: 0o700 })
  placeExample('backupninja.sh', { '/var/backups': backups }, join(actions, '20-github-connect.sh'))
  const log = join(place, 'log')
  const settings = {
    configdirectory: actions,
    scriptdirectory: '/usr/share/backupninja',
    libdirectory: '/usr/lib/backupninja',
    logfile: log,
    loglevel: 4,
    reportemail: '',
    reportsuccess: 'no',
    usecolors: 'no',
    when: 'everyday at 01:00',
    admingroup: 'root',
  }
  const config = join(place, 'backupninja.conf')
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${value}\n`)
  writeFileSync(config, lines.join(''), { mode: 0o600 })
  return { backups, command: `: >${log}; backupninja --now --conffile ${config} >/dev/null 2>&1 || true; cat ${log}` }
}

const SUCCESS = /finished action \S+: SUCCESS/
const FAILED = /finished action \S+: FAILED/

test.serial('backupninja', async t => {
  await proveTool(t, place => {
    const { backups, command } = placeBackupninja(place)
    return {
      backup: command,
      count: `ls ${backups} | wc -l`,
      restore: `ghconnect snapshot restore --input ${backups}/github-connect.tar --identity ${KEY}`,
      wentWell: ({ stdout }) => SUCCESS.test(stdout),
      failing: [],
    }
  })
})

test.serial(
  'backupninja fails with an export, and without ghconnect; the bundle of yesterday does not stay',
  async t => {
    const appliance = await createConnected()
    try {
      const { backups, command } = placeBackupninja(appliance.folder)
      const run = async (shell: Shell): Promise<string> => (await shell(command)).stdout
      for (const failing of [69, 70, 75]) {
        // In clear it is a warning.
        t.regex(await run(shellOf(appliance)), /finished action \S+: WARNING/)
        t.deepEqual(readdirSync(backups), ['github-connect.tar'])
        t.regex(await run(shellOf(appliance, { failing })), FAILED)
        t.deepEqual(readdirSync(backups), [])
      }
      t.regex(await run(shellOf(appliance, { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } })), FAILED)
    } finally {
      await appliance.close()
    }
  },
)

test.serial('cron, tar and age', async t => {
  await proveTool(t, place => ({
    backup: `${join(EXAMPLES, 'cron.sh')} ${place}/kept`,
    count: `ls ${place}/kept | wc -l`,
    restore: commandsOf('cron', { '/var/backups/github-connect': `${place}/kept` }),
    failing: [69, 70, 75],
  }))
})

test.serial('cron keeps the last 14 bundles, and none is lost to failures', async t => {
  const appliance = await createConnected()
  try {
    const kept = join(appliance.folder, 'kept')
    mkdirSync(kept)
    for (let day = 10; day < 30; day++) writeFileSync(join(kept, `202601${day}T000000Z.tar`), '')
    const script = `${join(EXAMPLES, 'cron.sh')} ${kept}`
    t.not((await shellOf(appliance, { failing: 69 })(script)).code, 0)
    t.is(readdirSync(kept).length, 20)
    t.is((await shellOf(appliance)(script)).code, 0)
    const names = readdirSync(kept).toSorted()
    t.is(names.length, 14)
    t.is(names[0], '20260117T000000Z.tar')
  } finally {
    await appliance.close()
  }
})
