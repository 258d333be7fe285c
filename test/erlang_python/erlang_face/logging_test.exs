defmodule ErlangPython.ErlangFace.LoggingTest do
  # `py:configure_logging`. Not async: it reads the log, in the default pool.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog

  alias ErlangPython.TestPython

  setup do
    pools = Application.fetch_env!(:erlang_python, :pools)

    Application.put_env(:erlang_python, :pools, [
      [name: :default, workers: 2, python: TestPython.executable()]
    ])

    on_exit(fn ->
      Application.put_env(:erlang_python, :pools, pools)
      ErlangPython.Pool.stop(:default)
    end)
  end

  @log """
  import logging
  logging.getLogger('shop').debug('one')
  logging.getLogger('shop').info('two')
  """

  defp logged do
    capture_log(fn ->
      assert [{:ok, _}, {:ok, _}] = :py_pool.broadcast({:exec, @log})
    end)
  end

  test "sets the level and the text in every worker, also in later ones" do
    assert :ok = :py.configure_logging()
    log = logged()
    assert length(String.split(log, "two")) == 3
    refute log =~ "one"

    assert :ok = :py.configure_logging(%{level: :debug, format: "<%(name)s> %(message)s"})
    assert length(String.split(logged(), "<shop> one")) == 3

    :ok = ErlangPython.Pool.restart(:default)
    assert length(String.split(logged(), "<shop> one")) == 3

    assert :ok = :py.configure_logging(level: :error)
    assert logged() == ""
  end

  test "refuses what it does not know" do
    for options <- [
          :debug,
          %{level: :loud},
          %{levels: :info},
          [1],
          %{format: 1},
          %{level: "info"}
        ] do
      assert {:error, :invalid_args} = :py.configure_logging(options)
    end
  end
end
