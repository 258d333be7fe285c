defmodule ErlangPython.InputTest do
  # What Python reads from its standard input.
  use ErlangPython.PoolCase, async: true

  import ExUnit.CaptureIO

  defp ask(code, options, input) do
    capture_io(input, fn -> send(self(), {:value, ErlangPython.run(code, %{}, options)}) end)
  end

  test "input() asks the caller, where the pool says so" do
    pool = start_pool(stdin: :caller, stdout: :caller)

    assert ask("name = input('Name? ')\nprint('Hello', name)\nname", [pool: pool], "Ana\n") ==
             "Name? Hello Ana\n"

    assert_received {:value, {:ok, "Ana"}}

    ask("import sys\n[*sys.stdin]", [pool: pool], "a\nb\n")
    assert_received {:value, {:ok, ["a\n", "b\n"]}}

    ask("import sys\n[sys.stdin.readline(), sys.stdin.read()]", [pool: pool], "a\nb\nc")
    assert_received {:value, {:ok, ["a\n", "b\nc"]}}
  end

  test "its end is the end of the file" do
    pool = start_pool(stdin: :caller)
    ask("input()", [pool: pool], "")
    assert_received {:value, {:error, %Error{type: "EOFError"}}}
  end

  test "threads, and calls out of callbacks, ask the first caller" do
    pool = start_pool(stdin: :caller)

    ErlangPython.register(:input_test_ask, fn ->
      ErlangPython.eval!("input()", %{}, pool: pool)
    end)

    code = """
    import threading
    lines = []
    thread = threading.Thread(target=lambda: lines.append(input()))
    thread.start()
    thread.join()
    lines + [erlang.call("input_test_ask")]
    """

    ask(code, [pool: pool], "one\ntwo\n")
    assert_received {:value, {:ok, ["one", "two"]}}
  end

  test "Python's debugger works" do
    pool = start_pool(stdin: :caller, stdout: :caller)
    shown = ask("x = 41\nbreakpoint()\nx + 1", [pool: pool], "p x * 2\ncontinue\n")
    assert shown =~ "(Pdb) 82"
    assert_received {:value, {:ok, 42}}
  end

  test "by default there is no input, and the error says what to do" do
    pool = start_pool()

    assert {:error, %Error{type: "EOFError", message: message}} =
             ErlangPython.eval("input()", %{}, pool: pool)

    assert message =~ "stdin: :caller"
    assert_raise ArgumentError, ~r/:stdin to be :none or :caller/, fn -> start_link(:yes) end
  end

  defp start_link(stdin), do: Pool.start_link(name: unique_name(), stdin: stdin)
end
