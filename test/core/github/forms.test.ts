// The forms for a new App: where they lead, where the browser comes back to, and what the App is asked to have.

import test from 'ava'
import { createForms } from '../../../src/core/github/app-manifest.ts'
import type { Config } from '../../../src/service/config.ts'

const allow = { users: [], groups: [], units: [] }
const config = {
  appliance: { url: 'https://ghe.example.com', hostname: 'ghe.example.com' },
  app: { name: 'ghe-example-com', permissions: { metadata: 'read', contents: 'read' } },
  policy: {
    profiles: [
      { name: 'a', permissions: { contents: 'write' }, allow },
      { name: 'b', permissions: { issues: 'read' }, allow },
      { name: 'c', allow },
    ],
  },
  web: { publicUrl: 'http://127.0.0.1:8470' },
  github: { url: 'https://octo.ghe.com' },
}
const forms = createForms(() => config as unknown as Config)
const permissions = { contents: 'write', issues: 'read', metadata: 'read' }

test('an App is asked for all that configuration and profiles name, and sends the browser back to the page', t => {
  const account = { type: 'organization', login: 'octo-org' } as const
  t.is(forms.formUrl(account, '5afe'), 'http://127.0.0.1:8470/enable/5afe')
  t.deepEqual(forms.appForm(account, '5afe'), {
    action: 'https://octo.ghe.com/organizations/octo-org/settings/apps/new?state=5afe',
    manifest: {
      name: 'ghe-example-com',
      url: 'https://ghe.example.com',
      description: 'GitHub Connect of ghe.example.com',
      redirect_url: 'http://127.0.0.1:8470/callback',
      setup_url: 'http://127.0.0.1:8470/setup',
      public: false,
      default_permissions: permissions,
    },
    permissions,
  })
  t.deepEqual(forms.wantedPermissions(), permissions)
})

test('an enterprise is sent to the form of GitHub, filled in with the same', t => {
  const url = new URL(forms.formUrl({ type: 'enterprise', login: 'acme' }, '5afe'))
  t.is(url.origin + url.pathname, 'https://octo.ghe.com/enterprises/acme/settings/apps/new')
  t.deepEqual(Object.fromEntries(url.searchParams), {
    name: 'ghe-example-com',
    url: 'https://ghe.example.com',
    description: 'GitHub Connect of ghe.example.com',
    public: 'false',
    webhook_active: 'false',
    setup_url: 'http://127.0.0.1:8470/setup',
    ...permissions,
  })
})
