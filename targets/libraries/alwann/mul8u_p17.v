// mul8u_p17: approximate 8 x 8 bit unsigned multiplier, p = a w
// MAE = 804.452, WCE = 4355
// power 0.06481 mW, area 126.2 um2, delay 0.5305 ns (gate model: 58 gates)
module mul8u_p17 (
  input  wire [7:0] a,
  input  wire [7:0] w,
  output wire [15:0] p
);
  wire n0 = a[6] & w[4];
  wire n1 = ~(a[7] & w[4]);
  wire n2 = ~(a[6] | n1);
  wire n3 = a[5] & w[5];
  wire n4 = w[3] | n3;
  wire n5 = a[7] & n0;
  wire n6 = n0 & n3;
  wire n7 = a[6] & w[5];
  wire n8 = ~(n2 | n7);
  wire n9 = ~(n6 | n8);
  wire n10 = a[7] & w[5];
  wire n11 = n5 ^ n10;
  wire n12 = w[5] & n5;
  wire n13 = n6 | n11;
  wire n14 = a[4] & w[6];
  wire n15 = a[5] & w[6];
  wire n16 = n9 ^ n15;
  wire n17 = n9 & n15;
  wire n18 = n14 ^ n16;
  wire n19 = n14 & n16;
  wire n20 = n17 | n19;
  wire n21 = a[6] & w[6];
  wire n22 = n13 ^ n21;
  wire n23 = n20 & n22;
  wire n24 = n13 & n21;
  wire n25 = n20 ^ n22;
  wire n26 = n23 | n24;
  wire n27 = ~(a[7] & w[6]);
  wire n28 = ~(n12 ^ n27);
  wire n29 = w[6] & n12;
  wire n30 = n26 ^ n28;
  wire n31 = n26 & n28;
  wire n32 = n29 | n31;
  wire n33 = a[3] & w[7];
  wire n34 = a[4] & w[7];
  wire n35 = n18 ^ n34;
  wire n36 = n18 & n34;
  wire n37 = n33 ^ n35;
  wire n38 = n33 & n35;
  wire n39 = n36 | n38;
  wire n40 = a[5] & w[7];
  wire n41 = n25 ^ n40;
  wire n42 = n25 & n40;
  wire n43 = n39 ^ n41;
  wire n44 = n39 & n41;
  wire n45 = n42 | n44;
  wire n46 = a[6] & w[7];
  wire n47 = n30 ^ n46;
  wire n48 = n30 & n46;
  wire n49 = n45 ^ n47;
  wire n50 = n45 & n47;
  wire n51 = n48 | n50;
  wire n52 = a[7] & w[7];
  wire n53 = ~(n32 ^ n52);
  wire n54 = w[7] & n32;
  wire n55 = ~(n51 ^ n53);
  wire n56 = a[7] & n51;
  wire n57 = n54 | n56;
  assign p[0] = n48;
  assign p[1] = a[6];
  assign p[2] = 1'b1;
  assign p[3] = w[6];
  assign p[4] = w[5];
  assign p[5] = n0;
  assign p[6] = 1'b1;
  assign p[7] = a[7];
  assign p[8] = w[5];
  assign p[9] = 1'b1;
  assign p[10] = n4;
  assign p[11] = n37;
  assign p[12] = n43;
  assign p[13] = n49;
  assign p[14] = n55;
  assign p[15] = n57;
endmodule
