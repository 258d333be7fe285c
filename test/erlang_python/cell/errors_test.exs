defmodule ErlangPython.Cell.ErrorsTest do
  # Errors of cells, at their lines, when they are compiled and when they run.
  use ErlangPython.CellCase, async: true

  describe "errors" do
    test "of Python point at the cell's lines", %{notebook: notebook} do
      code = "x = 0\n\n" <> py("def f(n):\n    return 1 / n\n\nf(x)")
      error = assert_raise Error, fn -> Notebook.run(notebook, code, file: "a.livemd#cell:7") end

      assert Exception.message(error) =~ """
             File "a.livemd#cell:7", line 7, in <module>
                 f(x)
             """

      assert [%{line: 7, function: "<module>"}, %{line: 5, function: "f", code: "return 1 / n"}] =
               error.traceback
    end

    test "of a function of an earlier cell show that cell", %{notebook: notebook} do
      {_, notebook} = Notebook.run(notebook, py("def f():\n    1 / 0"), file: "a#cell:1")
      error = assert_raise Error, fn -> Notebook.run(notebook, py("f()"), file: "a#cell:2") end

      assert [%{file: "a#cell:2", line: 2}, %{file: "a#cell:1", line: 3, code: "1 / 0"}] =
               error.traceback
    end

    test "of syntax are found when the cell is compiled", %{notebook: notebook} do
      error =
        assert_raise CompileError, fn ->
          Notebook.run(notebook, "send(self(), :ran)\n" <> py("x = 1\ny = = 2"), file: "a#cell:1")
        end

      assert %{file: "a#cell:1", line: 4} = error
      assert error.description == "SyntaxError: invalid syntax\n    y = = 2\n        ^"
      refute_received :ran

      for {code, said} <- [
            {"return 1", ~r/'return' outside function\n.*last expression, without return/s},
            {"!pip install numpy", ~r/invalid syntax\n.*\nIPython's ! and % are not Python/s}
          ] do
        assert_raise CompileError, said, fn -> Notebook.run(notebook, py(code)) end
      end
    end

    test "leave what the cell did before", %{notebook: notebook} do
      assert_raise Error, ~r/division/, fn -> Notebook.run(notebook, py("x = 1\n1 / 0")) end
      assert {1, _} = Notebook.run(notebook, py("x"))
    end

    test "say what can't go in", %{notebook: notebook} do
      error =
        assert_raise Error, fn -> cells(notebook, ["x = %{{:a, 1} => <<1::1>>}", py("x")]) end

      assert %{kind: :encode, executed: :no} = error
      assert error.message =~ ~s(variables["x"])
    end

    test "name what was written wrong", %{notebook: notebook} do
      for {code, message} <- [
            {~S|python "#{1}"|, ~r/a literal without interpolation/},
            {~S|python String.upcase("x")|, ~r/a literal without interpolation/},
            {~S|python ~S"1", timout: 1|, ~r/did you mean :timeout/},
            {~S|python ~S"1", pool: "a"|, ~r/expected :pool to be/},
            {~S|sigil_PY(<<"1">>, [?a])|, ~r/takes no modifiers/}
          ] do
        error = assert catch_error(Notebook.run(notebook, code))
        assert Exception.message(error) =~ message
      end

      assert %Error{kind: :no_pool} =
               catch_error(Notebook.run(notebook, ~S|python ~S"1", pool: :nobody|))
    end

    test "say that no Python answers while a cell is compiled" do
      broken = start_pool(workers: 1, lazy: true, python: "/nonexistent/python")

      error =
        assert_raise CompileError, fn ->
          Notebook.run(Notebook.new(), "\n\npython ~S\"1\", pool: #{inspect(broken)}")
        end

      assert error.line == 3
      assert error.description =~ "no Python answers"
      assert error.description =~ "/nonexistent/python"
    end
  end
end
