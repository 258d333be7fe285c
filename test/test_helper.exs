# The pools of the examples in docs and module docs.
Application.put_env(:erlang_python, :pools, [
  [name: :default, workers: 2, python: ErlangPython.TestPython.executable()],
  [name: :single, workers: 1, python: ErlangPython.TestPython.executable()]
])

ExUnit.start(assert_receive_timeout: 10_000, refute_receive_timeout: 50, capture_log: true)
