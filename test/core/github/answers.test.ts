// Answers with something that no schema has yet: the one thing is left aside with a warning, and everything else goes on.

import test, { type ExecutionContext } from 'ava'
import type { App, Installation } from '../../../src/protocol/connection.ts'
import { issuerOf } from '../../../src/protocol/connection.ts'
import { Failure } from '../../../src/protocol/errors.ts'
import { connectionSchema, grantedSchema, installationsSchema } from '../../../src/core/store/records.ts'
import { Secret } from '../../../src/protocol/secret.ts'
import type { AppIdentity } from '../../../src/core/github/calls.ts'
import { appBody, installationBody, tokenBody } from './bodies.ts'
import { fakeGitHub, makeKey, makePem } from './fakes.ts'

const as: AppIdentity = { issuer: '42', keys: [makeKey()] }
const TOKEN = 'ghs_0123456789abcdefghijklmnopqrstuvwxyz'
const UNKNOWN = ['of-a-new-kind', '', 4.5, -1, true, null, [], {}, ['x'], { a: 1 }, undefined] as const

type Change = { readonly path: readonly string[]; readonly value: unknown; readonly body: unknown }

/** The same body with each one of its values replaced by each unknown one, and with a member of an unknown name. */
const changesOf = (body: unknown, path: readonly string[] = []): Change[] => [
  ...(path.length === 0 ? [] : UNKNOWN.map(value => ({ path, value, body: undefined }))),
  ...(typeof body === 'object' && body !== null
    ? Object.entries(body).flatMap(([name, inner]) => changesOf(inner, [...path, name]))
    : []),
]
const changed = (body: unknown): Change[] =>
  changesOf(body).map(({ path, value }) => {
    const copy: unknown = structuredClone(body)
    let here = Object(copy)
    for (const name of path.slice(0, -1)) here = here[name]
    const last = path.at(-1) ?? ''
    if (value === undefined && !Array.isArray(here)) delete here[last]
    else here[last] = value ?? null
    return { path, value, body: copy }
  })

const read = async <T>(
  t: ExecutionContext,
  body: unknown,
  ask: (github: ReturnType<typeof fakeGitHub>['github']) => Promise<T>,
): Promise<{ result?: T; warnings: readonly string[] }> => {
  const { github, warnings } = fakeGitHub(() => ({ body }))
  try {
    return { result: await ask(github), warnings }
  } catch (error) {
    t.true(error instanceof Failure && error.code === 'github-unexpected', String(error))
    return { warnings }
  }
}

const recordOf = (app: App) =>
  connectionSchema.safeParse({
    kind: 'awaiting-installation',
    sinceMs: 0,
    app,
    account: app.owner,
    host: { machineId: 'm', hostname: 'h' },
    enabledAtMs: 0,
  })

test('an App is read whatever is new in it, in a form that every version stores; without id, owner or permissions the look fails', async t => {
  for (const { path, value, body } of changed(appBody())) {
    const { result } = await read(t, body, github => github.getApp(as))
    const where = `${path.join('.')}: ${JSON.stringify(value)}`
    const isNeeded = path[0] === 'id' || path[0] === 'owner' || path.join() === 'permissions'
    t.true(result !== undefined || isNeeded, where)
    if (!result) continue
    t.true(recordOf(result).success, where)
    t.notThrows(() => new URL(result.htmlUrl), where)
    if (path[0] !== 'id') t.is(result.id, 42, where)
  }
})

test('without a client id the App id signs', async t => {
  const { client_id: _, slug: __, ...older } = appBody()
  const { result, warnings } = await read(t, older, github => github.getApp(as))
  t.like(result, { clientId: '', slug: '' })
  t.is(result && issuerOf(result), '42')
  t.is(issuerOf({ id: 42, clientId: 'Iv1' }), 'Iv1')
  t.deepEqual(warnings, [], 'older servers leave them out')
})

test('the key of a new App is never lost for anything but its id', async t => {
  const pem = makePem()
  for (const { path, value, body } of changed({ ...appBody(), pem })) {
    const { result } = await read(t, body, github => github.convertManifest('code'))
    const where = `${path.join('.')}: ${JSON.stringify(value)}`
    if (path[0] === 'id' || path[0] === 'pem') continue
    t.is(result?.pem.reveal(), pem, where)
    t.true(result !== undefined && recordOf(result.app).success, where)
  }
})

test('no list of installations is lost for one entry, and what cannot be read is as it was', async t => {
  const bodies = [
    installationBody(1),
    { ...installationBody(2), account: { slug: 'octo-corp', id: 3 } },
    installationBody(3),
  ]
  const known = (await read(t, bodies, github => github.listInstallations(as))).result ?? []
  t.deepEqual(
    known.map(({ id, account }) => [id, account.type]),
    [
      [1, 'organization'],
      [2, 'enterprise'],
      [3, 'organization'],
    ],
  )
  for (const { path, value, body } of changed(bodies)) {
    const where = `${path.join('.')}: ${JSON.stringify(value)}`
    const { result, warnings } = await read(t, body, github => github.listInstallations(as, known))
    t.truthy(result, where)
    t.true(installationsSchema.safeParse(result).success, where)
    const touched = Number(path[0]) + 1
    const others = (list: readonly Installation[] = []) =>
      list.filter(({ id }) => [1, 2, 3].includes(id) && id !== touched).toSorted((a, b) => a.id - b.id)
    t.deepEqual(others(result), others(known), where)
    const isOrphan = path[1] === 'account' && path.length === 2 && value === null
    if (isOrphan)
      t.false(
        result?.some(({ id }) => id === touched),
        where,
      )
    else if (path[1] !== 'id' || path.length === 1)
      t.true(
        result?.some(({ id }) => id === touched),
        where,
      )
    if (path[1] === 'permissions' && path.length === 3 && value !== undefined) t.deepEqual(warnings.length, 1, where)
  }
})

test('an account of a kind to come, a selection to come, a level to come: the installation serves, and the log says what was left aside', async t => {
  const odd = {
    ...installationBody(7),
    account: { login: 'octo-org', type: 'Mannequin' },
    repository_selection: 'some',
    permissions: { contents: 'read', copilot_requests: 'none' },
  }
  const { result, warnings } = await read(t, [odd], github => github.listInstallations(as))
  t.like(result?.[0], {
    account: { type: 'organization', login: 'octo-org' },
    repositorySelection: 'selected',
    permissions: { contents: 'read' },
  })
  t.is(warnings.length, 3)
})

test('a token says of its scope what it can; its text and its end it must have', async t => {
  const scope = { installation: 7, repositories: ['web'], permissions: { contents: 'read' } } as const
  for (const { path, value, body } of changed(tokenBody(TOKEN))) {
    const { result } = await read(t, body, github => github.mint(as, scope))
    const where = `${path.join('.')}: ${JSON.stringify(value)}`
    const isOptional =
      path.length === 1 && (value === null || value === undefined) && !/token|expires_at/.test(path[0] ?? '')
    const isIgnored = /^(?:repository_selection|repositories\.0\.id)$/.test(path.join('.')) || path[0] === 'permissions'
    t.true(result !== undefined || !(isOptional || isIgnored), where)
    if (!result) continue
    t.true(grantedSchema.safeParse(result.granted).success, where)
    if (path[0] !== 'token') t.is(result.token.reveal(), TOKEN, where)
    if (isOptional) t.deepEqual(result.granted.repositories, ['web'], where)
  }
  const { result } = await read(
    t,
    { token: TOKEN, expires_at: '2026-06-01T13:00:00Z', repository_selection: 'all' },
    github => github.mint(as, scope),
  )
  t.is(result?.granted.repositories, undefined, 'one for all repositories is not taken for one of those asked for')
})

test('a repository that cannot be read hides no other one, and the list says that it is not whole', async t => {
  const bodies = {
    total_count: 2,
    repositories: [
      { id: 1, name: 'web' },
      { id: 2, name: 'api' },
    ],
  }
  for (const { path, value, body } of changed(bodies).filter(({ path: [, at] }) => at !== undefined)) {
    const where = `${path.join('.')}: ${JSON.stringify(value)}`
    const { result } = await read(t, body, github => github.listRepositories(new Secret(TOKEN)))
    const other = path[1] === '0' ? { id: 2, name: 'api' } : { id: 1, name: 'web' }
    t.true(
      result?.items.some(one => one.id === other.id && one.name === other.name),
      where,
    )
    t.is(result?.isWhole, result?.items.length === 2, where)
    const peeked = await read(t, body, github => github.peekRepositories(new Secret(TOKEN), 7))
    t.true(peeked.result?.names.includes(other.name), where)
  }
})

test('what GitHub does not repeat of a token is as it was asked for', async t => {
  const bare = { token: TOKEN, expires_at: '2026-06-01T15:00:00+02:00' }
  const mint = (scope: Parameters<ReturnType<typeof fakeGitHub>['github']['mint']>[1], body: object = bare) =>
    read(t, body, github => github.mint(as, scope))
  const asked = { installation: 7, repositories: ['web'], permissions: { contents: 'read' } } as const
  const { result } = await mint(asked)
  t.deepEqual(result?.granted, { permissions: { contents: 'read' }, repositories: ['web'] })
  t.is(result?.expiresAtMs, Date.UTC(2026, 5, 1, 13), 'whatever its time zone')
  t.deepEqual((await mint({ installation: 7 })).result?.granted, { permissions: {} })
  const all = await mint(asked, { ...bare, repository_selection: 'all', repositories: [{ name: 'api' }] })
  t.deepEqual(all.result?.granted.repositories, ['api'], 'what it does say counts')
  const selected = await mint(asked, { ...bare, repository_selection: 'selected' })
  t.deepEqual(selected.result?.granted.repositories, ['web'])
})

test('accounts are of their kind, and a suspension has its time', async t => {
  const bodies = [
    { ...installationBody(1), account: { login: 'hubot', type: 'User' }, suspended_at: '2026-05-01T10:00:00Z' },
    { ...installationBody(2), account: { slug: 'octo-corp', login: null }, repository_selection: 'all' },
  ]
  const { result, warnings } = await read(t, bodies, github => github.listInstallations(as))
  t.like(result?.[0], { account: { type: 'user', login: 'hubot' }, suspendedAtMs: Date.UTC(2026, 4, 1, 10) })
  t.like(result?.[1], { account: { type: 'enterprise', login: 'octo-corp' }, repositorySelection: 'all' })
  t.false(result?.[1] && 'suspendedAtMs' in result[1])
  t.deepEqual(warnings, [])
})

test('what GitHub does not say of names and addresses follows from what it says, on the pages of the GitHub that was asked', async t => {
  const { html_url: _, ...app } = appBody({ name: '' })
  const { html_url: __, ...installation } = installationBody(7)
  for (const [apiUrl, pages] of [
    ['https://api.github.com', 'https://github.com'],
    ['https://api.octo.ghe.com', 'https://octo.ghe.com'],
    ['https://ghe.example.com:8443/api/v3', 'https://ghe.example.com:8443'],
  ] as const) {
    const ask = (body: unknown) => fakeGitHub(() => ({ body }), { settings: { apiUrl } }).github
    const found = await ask(app).getApp(as)
    t.like(found, { name: 'ghe-example-com', htmlUrl: `${pages}/apps/ghe-example-com` })
    t.is((await ask({ ...app, slug: '' }).getApp(as)).name, 'App 42')
    t.is((await ask(installation).getInstallation(as, 7)).htmlUrl, `${pages}/settings/installations/7`)
  }
})

test('the account of a new App that cannot be read is unknown, and its key is kept', async t => {
  const pem = makePem()
  const { result } = await read(t, { ...appBody({ owner: null, permissions: 'all' }), pem }, github =>
    github.convertManifest('code'),
  )
  t.deepEqual(result?.app.owner, { type: 'organization', login: 'unknown' })
  t.deepEqual(result?.app.permissions, {})
})
