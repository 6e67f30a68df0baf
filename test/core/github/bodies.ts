// Bodies as GitHub sends them, for tests.

export const appBody = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  id: 42,
  slug: 'ghe-example-com',
  node_id: 'A_x',
  client_id: 'Iv23liAbCdEf',
  owner: { login: 'octo-org', id: 1, type: 'Organization' },
  name: 'ghe-example-com',
  description: '',
  external_url: 'https://ghe.example.com',
  html_url: 'https://github.com/apps/ghe-example-com',
  created_at: '2026-06-01T12:00:00Z',
  updated_at: '2026-06-01T12:00:00Z',
  permissions: { contents: 'read', metadata: 'read' },
  events: [],
  ...more,
})

export const installationBody = (id: number): Record<string, unknown> => ({
  id,
  account: { login: 'octo-org', id: 1, type: 'Organization' },
  repository_selection: 'selected',
  permissions: { contents: 'read', metadata: 'read' },
  html_url: `https://github.com/organizations/octo-org/settings/installations/${id}`,
  app_id: 42,
  suspended_at: null,
})

export const tokenBody = (token: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  token,
  expires_at: '2026-06-01T13:00:00Z',
  permissions: { contents: 'read', metadata: 'read' },
  repository_selection: 'selected',
  repositories: [{ id: 9, name: 'web' }],
  ...more,
})
