// Imported before all else: the packages of proxy-agent print what they do, passwords in proxy URLs included, where DEBUG asks for it.

delete process.env['DEBUG']
