defmodule ErlangPython.ExceptionValuesTest do
  # Exceptions that Python does not raise but gives, as it gives other values.
  use ErlangPython.CallbackCase, async: false

  alias ErlangPython.State

  setup_all do: {:ok, pool: start_pool(workers: 1)}

  @error %Error{kind: :python, type: "ValueError", message: "x", executed: :yes}

  defp bare(%Error{} = error), do: %{error | details: %{}, traceback: []}

  test "are errors in Elixir, wherever they come from", %{pool: pool} do
    test = self()

    register(:take, fn error ->
      send(test, {:taken, error})
      error.type
    end)

    assert run!(pool, "erlang.take(ValueError('x'))") == "ValueError"
    assert_receive {:taken, error}
    assert bare(error) == @error
    assert error.details == %{formatted: "ValueError: x\n", relation: nil}

    assert [first, 1] = run!(pool, "[ValueError('x'), 1]")
    assert first == error

    run!(pool, "erlang.send(pid, ValueError('x'))", %{pid: self()})
    assert_receive ^error

    on_exit(fn -> State.delete("failed") end)
    run!(pool, "erlang.state_set('failed', ValueError('x'))")
    assert State.get("failed") == error

    items = "(ValueError(n) for n in 'xyz')"
    assert [^error, _, _] = items |> ErlangPython.stream_eval(%{}, pool: pool) |> Enum.to_list()
  end

  test "that were raised have a traceback and a cause", %{pool: pool} do
    code = """
    import asyncio
    async def fail(text):
        try:
            {}["a"]
        except KeyError as missing:
            raise ValueError(text) from missing
    await asyncio.gather(fail("x"), fail("y"), return_exceptions=True)
    """

    assert [error, %Error{message: "y"}] = run!(pool, code)
    assert %{bare(error) | cause: nil} == @error
    assert [%{function: "fail", line: 7}] = error.traceback
    assert %Error{type: "KeyError", cause: nil} = error.cause
    assert Exception.message(error) =~ "direct cause of the following"
  end

  test "are dicts once they go back", %{pool: pool} do
    assert [error] = run!(pool, "[ValueError('x')]")

    assert run!(pool, "(e['type'], e['message'], e['kind'])", %{e: error}) ==
             {"ValueError", "x", :python}
  end

  test "are reasons in Erlang" do
    assert :py.eval("[KeyError('a'), StopIteration()]") ==
             {:ok, [{:KeyError, ~c"'a'"}, {:stop_iteration, :none}]}
  end
end
