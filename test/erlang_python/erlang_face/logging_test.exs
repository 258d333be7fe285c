defmodule ErlangPython.ErlangFace.LoggingTest do
  # `py:configure_logging`. Not async: it reads the log, in the default pool.
  use ExUnit.Case, async: false

  alias ErlangPython.{LogEvents, Pool, TestPython}

  @moduletag :capture_log

  setup do
    pools = Application.fetch_env!(:erlang_python, :pools)

    Application.put_env(:erlang_python, :pools, [
      [name: :default, workers: 2, python: TestPython.executable()]
    ])

    on_exit(fn ->
      Application.put_env(:erlang_python, :pools, pools)
      Pool.stop(:default)
    end)

    LogEvents.forward()
  end

  @log """
  import logging
  logging.getLogger('shop').debug('one')
  logging.getLogger('shop').info('two')
  logging.getLogger('shop').error('end')
  """

  # What both workers log, up to the end of each.
  defp logged do
    assert [{:ok, _}, {:ok, _}] = :py_pool.broadcast({:exec, @log})
    collect([], 2)
  end

  defp collect(texts, 0), do: Enum.sort(texts)

  defp collect(texts, left) do
    assert_receive {:logged, _level, text}, 30_000

    case String.replace_prefix(text, "<shop> ", "") do
      "end" -> collect(texts, left - 1)
      ours when ours in ["one", "two"] -> collect([text | texts], left)
      _of_others -> collect(texts, left)
    end
  end

  test "sets the level and the text in every worker, also in later ones" do
    assert logged() == []
    assert :ok = :py.configure_logging()
    assert logged() == ["two", "two"]

    all = ["<shop> one", "<shop> one", "<shop> two", "<shop> two"]
    assert :ok = :py.configure_logging(%{level: :debug, format: "<%(name)s> %(message)s"})
    assert logged() == all
    :ok = Pool.restart(:default)
    assert logged() == all

    assert :ok = :py.configure_logging(level: :error)
    assert logged() == []
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
