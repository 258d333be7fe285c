# The pools of the examples in docs and module docs.
Application.put_env(:erlang_python, :pools, [
  [name: :default, workers: 2, python: ErlangPython.TestPython.executable()],
  [name: :single, workers: 1, python: ErlangPython.TestPython.executable()]
])

# Debian has PropEr as a package, Homebrew has not.
without =
  if Code.ensure_loaded?(:proper) do
    []
  else
    IO.puts("PropEr is missing: property tests are left out")
    [:proper]
  end

# They need a Python that has them.
without = if System.get_env("FRAMEWORKS_PYTHON"), do: without, else: [:frameworks | without]

# A test that takes long has no failure yet: it may be the machine that is busy.
ExUnit.start(
  exclude: without,
  timeout: 300_000,
  assert_receive_timeout: 10_000,
  refute_receive_timeout: 50,
  capture_log: true,
  formatters: [ExUnit.CLIFormatter, ErlangPython.FailuresLast]
)
