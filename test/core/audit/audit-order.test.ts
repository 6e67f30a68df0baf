// The order of effects: a change whose row cannot be written does not happen, and what has happened is never lost or left half done.

import test from 'ava'
import { LAST_EXPORT } from '../../../src/core/store/records.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import type { World } from '../../support/fake-github.ts'
import { failureOf } from '../../support/fakes.ts'
import { createPremises, createRig, connectedRig, ORG, type Rig } from '../../support/operations-rig.ts'
import { createShelf, createSnapshotRig, forge } from '../../support/snapshot-rig.ts'
import { Failure } from '../../../src/protocol/errors.ts'

const MINUTE = 60_000
/** No change here writes more rows. */
const MOST_ROWS = 12

type Scene = {
  readonly rig: Rig
  readonly world: World
  readonly snapshots: ReturnType<typeof createSnapshotRig>
  readonly act: () => Promise<unknown>
}

const connected = async (prepare: (scene: Omit<Scene, 'act'> & { appId: number }) => Promise<Scene['act']>) => {
  const { rig, world, app } = await connectedRig()
  const snapshots = createSnapshotRig(rig, { cache: createShelf() })
  const scene = { rig, world, snapshots, appId: app.id }
  return { ...scene, act: await prepare(scene) }
}

const empty = async (prepare: (scene: Omit<Scene, 'act'>) => Promise<Scene['act']>): Promise<Scene> => {
  const premises = createPremises()
  const rig = createRig(premises)
  const scene = { rig, world: premises.world, snapshots: createSnapshotRig(rig, { cache: createShelf() }) }
  return { ...scene, act: await prepare(scene) }
}

/** `refused`: the change does not happen unless its row is written. The others have happened, or must not be held up. */
const CHANGES: Readonly<Record<string, { readonly refused: boolean; readonly make: () => Promise<Scene> }>> = {
  export: {
    refused: true,
    make: () => connected(async ({ snapshots }) => snapshots.snapshots.export),
  },
  restore: {
    refused: true,
    make: () =>
      connected(async ({ snapshots: { snapshots, cache } }) => {
        const bundle = forge(cache, await snapshots.export(), kept => ({
          ...kept,
          header: { ...kept.header, hostname: 'other' },
        }))
        return () => snapshots.restore(bundle, { identities: [], force: true })
      }),
  },
  adopt: {
    refused: true,
    make: () => connected(async ({ snapshots }) => snapshots.snapshots.adopt),
  },
  'recovery key': {
    refused: true,
    make: () =>
      connected(
        async ({ snapshots }) =>
          () =>
            snapshots.recovery.add('age1a'),
      ),
  },
  'key add': {
    refused: true,
    make: () =>
      connected(async ({ rig, world, appId }) => {
        const pem = new Secret(world.addKey(appId))
        return () => rig.keys.add(pem)
      }),
  },
  'key retire': {
    refused: true,
    make: () =>
      connected(async ({ rig, world, appId }) => {
        await rig.keys.add(new Secret(world.addKey(appId)))
        return () => rig.keys.retire()
      }),
  },
  enable: {
    refused: true,
    make: () =>
      empty(
        async ({ rig }) =>
          () =>
            rig.enable.begin(ORG),
      ),
  },
  import: {
    refused: true,
    make: () =>
      empty(async ({ rig, world }) => {
        const { app, pem } = world.createApp(ORG)
        world.install(app.id, ORG)
        return () => rig.importApp({ appId: app.id, pem: new Secret(pem) })
      }),
  },
  'enable, once GitHub made the App': {
    refused: false,
    make: () =>
      empty(async ({ rig, world }) => {
        const { url } = await rig.enable.begin(ORG)
        const redirect = { code: world.submitManifest(ORG), state: url.slice(url.lastIndexOf('/') + 1), trusted: false }
        return () => rig.enable.complete(redirect)
      }),
  },
  disable: {
    refused: false,
    make: () =>
      connected(
        async ({ rig }) =>
          () =>
            rig.disable.begin({ local: false, wait: false }),
      ),
  },
  'disable on this machine alone': {
    refused: false,
    make: () =>
      connected(
        async ({ rig }) =>
          () =>
            rig.disable.begin({ local: true, wait: true }),
      ),
  },
}

/** All that a change may leave behind, but for its rows. */
const leftBy = ({ rig, snapshots }: Scene) => {
  const { generation, connection, keys, installations } = rig.connectionState.read()
  return {
    state: connection.kind,
    generation,
    keys: keys.map(({ fingerprint }) => fingerprint),
    installations: installations.map(({ id }) => id),
    recipients: snapshots.recovery.recipients(),
    exported: rig.disk.facts.get(LAST_EXPORT) !== undefined,
    unproven: rig.disk.facts.get('connection.unproven') ?? false,
    looked: snapshots.restored.length,
  }
}

const run = async (make: () => Promise<Scene>, rowsLeft?: number) => {
  const scene = await make()
  const { disk, clock } = scene.rig
  const rows = disk.audit.length
  const before = leftBy(scene)
  if (rowsLeft !== undefined) disk.auditRowsLeft = rowsLeft
  const failure = await scene.act().then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof Failure) return error.code
      throw error
    },
  )
  await clock.advance(0)
  const after = leftBy(scene)
  const written = disk.audit.length - rows
  delete disk.auditRowsLeft
  await clock.advance(2 * MINUTE)
  return {
    failure,
    before,
    after,
    written,
    events: disk.audit
      .slice(rows)
      .map(({ event }) => event)
      .toSorted(),
  }
}

for (const [name, { refused, make }] of Object.entries(CHANGES)) {
  test(`${name}: whichever row cannot be written, the change is whole or absent, and no row is lost`, async t => {
    const whole = await run(make)
    t.is(whole.failure, undefined)
    t.true(whole.written > 0 && whole.written < MOST_ROWS)
    t.notDeepEqual(whole.after, name === 'export' ? { ...whole.before, exported: true, looked: -1 } : whole.before)
    for (let rowsLeft = 0; rowsLeft < whole.written; rowsLeft += 1) {
      const { failure, before, after, events } = await run(make, rowsLeft)
      if (failure === undefined) {
        t.deepEqual(after, whole.after, `${rowsLeft} rows left`)
        t.deepEqual(events, whole.events, `${rowsLeft} rows left`)
      } else {
        t.true(refused, `${rowsLeft} rows left`)
        t.is(failure, 'audit-unavailable')
        t.deepEqual(after, before, `${rowsLeft} rows left`)
      }
    }
  })
}

test('a change that fails holds up none that waits behind it, nor a later one', async t => {
  const { rig } = await connectedRig()
  const failing = rig.connectionState.serially(() => Promise.reject(new Failure('timeout', 'no answer')))
  const behind = rig.connectionState.serially(() => Promise.resolve('done'))
  t.is((await failureOf(failing)).code, 'timeout')
  t.is(await behind, 'done')
  t.is(await rig.connectionState.serially(() => Promise.resolve('later')), 'later')
})
