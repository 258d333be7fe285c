defmodule ErlangPython.Examples.LivebookTest do
  # The notebooks of examples/livebook, cell by cell. Not async: what stands for Kino belongs to the whole node.
  use ExUnit.Case, async: false

  alias ErlangPython.{KinoStandIn, Livemd}

  @folder Path.expand("../../examples/livebook", __DIR__)

  setup do
    on_exit(KinoStandIn.define())
  end

  defp run(name), do: @folder |> Path.join(name) |> Livemd.run()

  # Each has a test below.
  test "there are four" do
    assert @folder |> File.ls!() |> Enum.sort() ==
             ~w(data_science.livemd streaming.livemd tour.livemd two_pythons.livemd)
  end

  test "a tour" do
    assert [_ | _] = run("tour.livemd")
  end

  test "streams" do
    assert [_ | _] = run("streaming.livemd")
  end

  test "two Pythons at once" do
    assert [_ | _] = run("two_pythons.livemd")
  end

  test "data science, with a table, a plot and a chart" do
    values = run("data_science.livemd")
    assert_received {:kino, {:kino, "image/png", <<137, "PNG", _::binary>>}}
    tables = for {:kino, :html, html} <- values, do: html
    assert [table, chart] = tables
    assert table =~ "<th>celsius</th>"
    assert chart =~ "Plotly.newPlot"
  end

  describe "a notebook" do
    @describetag :tmp_dir

    defp notebook(folder, cell, output) do
      path = Path.join(folder, "notebook.livemd")

      File.write!(path, """
      # Title

      ```elixir
      Mix.install([{:nothing, "~> 1.0"}])
      x = 1
      ```

      ```elixir
      #{cell}
      ```

      <!-- livebook:{"output":true} -->

      ```
      #{output}
      ```
      """)

      Livemd.run(path)
    end

    test "has its outputs compared, with the variables of the cells before", %{tmp_dir: folder} do
      assert notebook(folder, "x + 1", "2") == [1, 2]

      assert [1, :ok] =
               notebook(
                 folder,
                 "IO.puts(x)",
                 "1\n```\n\n<!-- livebook:{\"output\":true} -->\n\n```\n:ok"
               )
    end

    test "fails for another output", %{tmp_dir: folder} do
      error = assert_raise RuntimeError, fn -> notebook(folder, "x + 1", "3") end
      assert error.message =~ "line 8: the cell gives\n\n2\n\nand not\n\n3"
      assert_raise RuntimeError, fn -> notebook(folder, "IO.puts(x)", ":ok") end
    end

    test "fails with its cells", %{tmp_dir: folder} do
      assert_raise ArithmeticError, fn -> notebook(folder, "x / 0", "") end
    end
  end
end
