// The formats of token files: each is what its readers read.

import test from 'ava'
import { writeToken } from '../../src/protocol/token-formats.ts'

const ANSWER = {
  token: 'ghs_x',
  expires_at: '2026-07-11T13:00:00.000Z',
  installation: 7,
  account: 'octo-org',
  permissions: { metadata: 'read' },
} as const
const GITHUB = { url: 'https://github.com', apiUrl: 'https://api.github.com' }

test('a token is written for those who read it raw, as variables, as JSON or as .netrc', t => {
  t.is(writeToken('token', ANSWER, GITHUB), 'ghs_x')
  t.is(writeToken('env', ANSWER, GITHUB), 'GH_TOKEN=ghs_x\nGITHUB_TOKEN=ghs_x\n')
  t.deepEqual(JSON.parse(writeToken('json', ANSWER, GITHUB)), ANSWER)
  t.is(
    writeToken('netrc', ANSWER, GITHUB),
    'machine github.com login x-access-token password ghs_x\nmachine api.github.com login x-access-token password ghs_x\n',
  )
  const one = { url: 'https://ghe.example.com', apiUrl: 'https://ghe.example.com/api/v3' }
  t.is(writeToken('netrc', ANSWER, one), 'machine ghe.example.com login x-access-token password ghs_x\n')
})
